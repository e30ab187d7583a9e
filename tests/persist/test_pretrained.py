"""`save_pretrained`: `from_pretrained` loads an equal model, or saving is refused with a reason."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from support.languages import VOCABULARY, tokenizer, transformers

import secateurs as sc
from benchmarks.zoo import BY_NAME
from secateurs.cli import app
from secateurs.errors import PersistError, UsageError
from secateurs.structure import outputs_of

UNIFORM = sc.Limits(uniform=True)
BODY = {"vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 8,
        "num_key_value_heads": 4, "max_position_embeddings": 64, "tie_word_embeddings": False}  # fmt: skip
HEADS = ("head", "kv_group")
EIGHT = {**BODY, "num_key_value_heads": 8}


def build(name, **options):
    torch.manual_seed(0)
    if options:
        model = getattr(transformers, name)
        return model(model.config_class(**options)).eval(), {"input_ids": torch.randint(3, 128, (2, 12))}
    entry = BY_NAME[name]
    return entry.build().eval(), entry.inputs()


def pruned(name, kinds, keep=(), budget="keep:0.5", limits=UNIFORM, **options):
    model, inputs = build(name, **options)
    result = sc.prune(
        model,
        [inputs],
        criterion="random",
        budget=budget,
        kinds=kinds,
        keep=keep,
        limits=limits,
        scope="local",
        compensate=False,
    )
    return result, inputs


def outputs(model, inputs):
    with torch.no_grad():
        return [t for t in outputs_of(model.eval()(**inputs)) if t.is_floating_point()]


CASES = [
    ("BertForSequenceClassification", ("neuron",), {"keep": ["*pooler*"]}, {"intermediate_size": 64}),
    ("GPT2LMHeadModel", ("neuron",), {}, {"n_inner": 128}),
    ("LlamaForCausalLM", ("neuron", *HEADS), BODY,
     {"intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}),
    ("MistralForCausalLM", ("neuron", *HEADS), BODY,
     {"intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}),
    ("OPTForCausalLM", ("neuron",), {}, {"ffn_dim": 64}),
    ("T5ForConditionalGeneration", ("neuron", "head"), {}, {"d_ff": 64, "num_heads": 2}),
    ("ViTForImageClassification", ("neuron",), {}, {"intermediate_size": 64}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kinds", "options", "fields"), CASES, ids=[case[0] for case in CASES])
def test_from_pretrained_loads_the_same_model(name, kinds, options, fields, tmp_path, capfd):
    result, inputs = pruned(name, kinds, **options)
    assert not result.structure.frozen.keys() & result.plan.keep.keys()
    state = torch.get_rng_state()
    result.save_pretrained(tmp_path / "small")
    assert torch.equal(torch.get_rng_state(), state)
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert {field: config[field] for field in fields} == fields
    assert sc.Plan.load(tmp_path / "small" / "plan.json") == result.plan
    assert capfd.readouterr() == ("", "")
    loaded = type(result.model).from_pretrained(tmp_path / "small")
    assert sum(p.numel() for p in loaded.parameters()) == result.plan.pruned.params < result.dense_cost.params
    for actual, expected in zip(outputs(loaded, inputs), outputs(result.model, inputs), strict=True):
        assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()
    if loaded.can_generate():
        inputs = {name: tensor for name, tensor in inputs.items() if not name.startswith("decoder")}
        generation = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "use_cache": True}
        assert torch.equal(loaded.generate(**inputs, **generation), result.model.generate(**inputs, **generation))


def test_tokenizer_and_generation_configuration_are_saved(tmp_path):
    result, _ = pruned("LlamaForCausalLM", ("neuron",), **BODY)
    result.model.generation_config.max_new_tokens = 7
    with pytest.raises(UsageError, match="a str, has no method save_pretrained"):
        result.save_pretrained(tmp_path / "small", "tokenizer")
    assert not (tmp_path / "small").exists()
    result.save_pretrained(tmp_path / "small", tokenizer())
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert loaded.generation_config.max_new_tokens == 7
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "small")("cat")["input_ids"] == [
        VOCABULARY.index("cat")
    ]
    with pytest.raises(PersistError, match="exists already"):
        result.save_pretrained(tmp_path / "small")


def refusal(result, directory):
    with pytest.raises(PersistError) as caught:
        result.save_pretrained(directory / "small")
    assert list(directory.iterdir()) == []
    result.save(directory / "small")  # the fix in the message
    return str(caught.value)


def test_unequal_widths_are_refused_with_a_fix(tmp_path):
    model, inputs = build("LlamaForCausalLM", **BODY)
    model.model.layers[0].mlp.down_proj.weight.data *= 0.5
    limits = sc.Limits(uniform=False)
    result = sc.prune(model, [inputs], criterion="l2", budget="keep:0.5", kinds="neuron", limits=limits, scope="global")
    first, second = result.plan.widths.values()
    assert first != second
    message = refusal(result, tmp_path)
    assert f"model.layers.0.mlp.gate_proj ({first} of 96), model.layers.1.mlp.gate_proj ({second} of 96)" in message
    assert "Limits(uniform=True)" in message
    loaded = sc.load(tmp_path / "small", lambda: type(model)(model.config))
    assert torch.equal(loaded(**inputs).logits, result.model(**inputs).logits)


def test_heads_that_do_not_divide_the_hidden_size_are_refused_with_the_reason(tmp_path):
    uneven = sc.Limits(uniform=False)  # uniform widths exclude such numbers
    result, _ = pruned("LlamaForCausalLM", HEADS, budget="keep:0.75", limits=uneven, **EIGHT)
    message = refusal(result, tmp_path)
    assert "hidden size (64) is not a multiple of the number of attention heads (6)" in message
    assert "keep=['model.layers.*.self_attn.q_proj'], or prune to a supported number with Limits(uniform" in message
    again, _ = pruned("LlamaForCausalLM", HEADS, budget="keep:0.7", **EIGHT)
    again.save_pretrained(tmp_path / "four")


@pytest.mark.slow
def test_widths_without_a_configuration_field_are_refused_with_the_groups_to_keep(tmp_path):
    result, _ = pruned("BertForSequenceClassification", None)
    message = refusal(result, tmp_path)
    assert "kind 'head'" in message
    assert "keep=['bert.encoder.layer.*.attention.self.query']" in message
    assert "keep=['bert.pooler.dense']" in message
    assert "intermediate" not in message
    assert "uniform" not in message


def test_the_fix_in_the_message_works(tmp_path):
    keep = ["bert.pooler.dense", "bert.encoder.layer.*.attention.self.query"]
    result, _ = pruned("BertForSequenceClassification", None, keep)
    result.save_pretrained(tmp_path / "small")
    loaded = type(result.model).from_pretrained(tmp_path / "small")
    assert sum(p.numel() for p in loaded.parameters()) == result.plan.pruned.params


def test_a_change_of_behaviour_with_equal_shapes_is_refused(tmp_path):
    result, _ = pruned("LlamaForCausalLM", ("neuron",), **BODY)
    result.model.model.layers[0].self_attn.scaling *= 2
    with pytest.raises(PersistError, match="computes other outputs"):
        result.save_pretrained(tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_library_is_refused(net, batches, tmp_path):
    with pytest.raises(PersistError, match=r"Sequential is not a model of transformers.*result.save"):
        sc.prune(net, batches, criterion="l1").save_pretrained(tmp_path / "small")


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_decoder_is_pruned_uniformly_by_default_and_can_be_saved(rounds, tmp_path):
    model, inputs = build("LlamaForCausalLM", **BODY)
    result = sc.prune(
        model, [inputs], criterion="l2", budget="params:0.8", kinds="neuron", schedule=sc.Schedule(rounds)
    )
    result.save_pretrained(tmp_path / "small")
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert reference.config.intermediate_size < 96


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--no-uniform"]], ids=["uniform", "not uniform"])
def test_the_command_line_saves_for_from_pretrained_if_possible(options, tmp_path):
    model, _ = build("LlamaForCausalLM", **BODY)
    for parameter in model.model.layers[0].mlp.parameters():
        parameter.data *= 0.5
    model.save_pretrained(tmp_path / "dense")
    tokenizer().save_pretrained(tmp_path / "dense")
    (tmp_path / "cats.txt").write_text("a cat sees the cat and likes the cat " * 40)
    command = f"prune hf:{tmp_path}/dense --data text:{tmp_path}/cats.txt --length 16 --criterion l2 --kinds neuron"
    done = CliRunner().invoke(app, [*command.split(), "--budget", "params:0.8", "--out", f"{tmp_path}/run", *options])
    assert done.exit_code == 0, done.output
    small = tmp_path / "run" / "model"
    plan = sc.Plan.load(small / "plan.json")
    if not options:
        assert "The model is saved for from_pretrained." in done.stdout
        loaded = transformers.AutoModelForCausalLM.from_pretrained(small)
        assert transformers.AutoTokenizer.from_pretrained(small)("cat")["input_ids"] == [VOCABULARY.index("cat")]
    else:
        assert "The model is saved for sc.load, not for from_pretrained: LlamaForCausalLM has widths" in done.stdout
        loaded = sc.load(small, lambda: build("LlamaForCausalLM", **BODY)[0])
    assert sum(p.numel() for p in loaded.parameters()) == plan.pruned.params
