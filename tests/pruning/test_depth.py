"""Whole layers: found without names, ranked by block influence, dropped exactly."""

import copy
import importlib.util
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

import secateurs as sc
from secateurs.cli import app
from secateurs.data.call import Call
from secateurs.errors import (
    BudgetError,
    CriterionError,
    DataError,
    InfeasibleBudgetError,
    ModelError,
    NoMatchError,
    PersistError,
    PlanError,
    VerificationError,
)
from secateurs.persist.save_pretrained import write_pretrained
from secateurs.pruning.depth.find_layers import find_layers

if not all(importlib.util.find_spec(name) for name in ("torchvision", "timm", "transformers")):
    pytest.skip("the zoo's libraries are not installed: pip install secateurs[zoo]", allow_module_level=True)

import benchmarks.torchvision_ops  # noqa: F401  (first: transformers imports torchvision)
from benchmarks.zoo import BY_NAME


def tiny(name, layers=4):
    """A model of the zoo with several layers, in float64, and inputs for it."""
    torch.manual_seed(0)
    entry = BY_NAME[name]
    shallow, inputs = entry.build(), entry.inputs()
    config = copy.deepcopy(shallow.config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = ["sliding_attention", "full_attention"] * (layers // 2)
        config.sliding_window = 4
    return type(shallow)(config).double().eval(), inputs


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


class Block(nn.Module):
    """Adds what a layer makes of its input; or not."""

    def __init__(self, width, index, residual=True):
        super().__init__()
        self.layer, self.index, self.residual = nn.Linear(width, width), index, residual

    def forward(self, x):
        return torch.tanh(self.layer(x)) + x if self.residual else self.layer(x)


class Chain(nn.Module):
    """Blocks in a list, whose length the model counts on if it is told to."""

    def __init__(self, depth=4, residual=True, counts=False):
        super().__init__()
        self.blocks = nn.ModuleList(Block(6, 10 + i, residual) for i in range(depth))
        self.head, self.counts = nn.Linear(6, 3), counts

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x * len(self.blocks) if self.counts else x)


@pytest.fixture
def chain():
    torch.manual_seed(0)
    return Chain().double(), torch.randn(8, 5, 6, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "found", "frozen"),
    [
        ("BertForSequenceClassification", ["bert.encoder.layer.0", "bert.encoder.layer.1"], 0),
        ("GPT2LMHeadModel", ["transformer.h.0", "transformer.h.1"], 0),
        ("BloomForCausalLM", ["transformer.h.0", "transformer.h.1"], 0),
        ("MixtralForCausalLM", ["model.layers.0", "model.layers.1"], 0),
        ("T5ForConditionalGeneration", ["encoder.block.1", "decoder.block.1"], 2),  # the first make all others' bias
        ("resnet18", ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"], 3),
    ],
)
def test_layers_are_found_whatever_they_are_called(name, found, frozen):
    torch.manual_seed(0)
    layers = find_layers(BY_NAME[name].build(), BY_NAME[name].inputs())
    assert list(layers.names) == found
    assert len(layers.frozen) == frozen


@pytest.mark.parametrize("name", ["AlbertForSequenceClassification", "densenet121"])
def test_what_is_called_several_times_or_adds_nothing_is_no_layer(name):
    with pytest.raises(ModelError, match="no layers that could be dropped"):
        find_layers(BY_NAME[name].build(), BY_NAME[name].inputs())


def test_block_influence_is_one_minus_the_mean_cosine_over_tokens(chain):
    model, x = chain
    ranking = sc.rank_layers(model, x.split(3))
    states = [x]
    with torch.no_grad():
        for block in model.blocks:
            states.append(block(states[-1]))
    expected = [1 - functional.cosine_similarity(a, b, dim=-1).mean() for a, b in pairwise(states)]
    torch.testing.assert_close(list(ranking.scores.values()), [float(its) for its in expected])
    assert list(ranking.scores) == [f"blocks.{number}" for number in range(4)]


def test_a_layer_that_does_nothing_has_no_influence_and_one_that_turns_everything_round_has_two():
    class Scaling(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(factor))

        def forward(self, x):
            return x + self.factor * x

    ranking = sc.rank_layers(nn.Sequential(Scaling(0.0), Scaling(-3.0), Scaling(5.0)), [torch.randn(4, 6)])
    assert ranking.scores == pytest.approx({"0": 0, "1": 2, "2": 0}, abs=1e-12)


def test_maps_are_compared_position_by_position():
    torch.manual_seed(0)
    model, x = BY_NAME["resnet18"].build().double().eval(), torch.randn(2, 3, 32, 32).double()
    seen = {}
    model.layer2[1].register_forward_hook(lambda module, args, out: seen.update(x=args[0].clone(), y=out.clone()))
    score = sc.rank_layers(model, [x]).scores["layer2.1"]
    cosine = functional.cosine_similarity(seen["x"], seen["y"], dim=1)
    assert score == pytest.approx(float(1 - cosine.mean()), abs=1e-3)  # where all is zero it is one


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "LlamaForCausalLM"])
def test_padding_does_not_count(name):
    model, inputs = tiny(name)
    ids = inputs["input_ids"]
    padded = {
        "input_ids": torch.cat([ids, torch.randint(3, 100, (2, 5))], 1),
        "attention_mask": torch.cat([torch.ones_like(ids), torch.zeros(2, 5).long()], 1),
    }
    plain = sc.rank_layers(model, [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}]).scores
    assert sc.rank_layers(model, [padded]).scores == pytest.approx(plain, rel=1e-9)
    with pytest.raises(DataError, match="all padding"):
        sc.rank_layers(model, [{**padded, "attention_mask": torch.zeros_like(padded["attention_mask"])}])


def test_each_side_of_an_encoder_and_decoder_has_its_own_padding():
    torch.manual_seed(0)
    model = BY_NAME["BartForConditionalGeneration"].build().double().eval()
    ids, told = torch.randint(3, 100, (2, 2, 9))
    has = (torch.arange(9) < 6).long().expand(2, 9)
    whole = sc.rank_layers(model, [{"input_ids": ids, "attention_mask": has, "decoder_input_ids": told}]).scores
    padded = {"input_ids": ids, "attention_mask": has, "decoder_input_ids": told, "decoder_attention_mask": has}
    part = sc.rank_layers(model, [padded]).scores
    short = sc.rank_layers(model, [{"input_ids": ids[:, :6], "decoder_input_ids": told[:, :6]}]).scores
    assert part == pytest.approx(short, rel=1e-9)
    assert all((whole[name] == part[name]) == ("encoder.layers" in name) for name in whole)


def test_a_list_of_the_same_length_that_is_not_of_the_layers_stays():
    torch.manual_seed(0)
    model = BY_NAME["WhisperForConditionalGeneration"].build().eval()
    small = sc.drop_layers(model, ["model.encoder.layers.0"], BY_NAME["WhisperForConditionalGeneration"].inputs())
    assert small.config.begin_suppress_tokens == model.config.begin_suppress_tokens
    assert (small.config.encoder_layers, small.config.decoder_layers) == (1, 2)


def test_controls(chain):
    model, x = chain
    influence = sc.rank_layers(model, [x])
    reverse = sc.rank_layers(model, [x], "reversed-block-influence")
    assert reverse.scores == {name: -score for name, score in influence.scores.items()}
    assert set(influence.lowest("keep:0.5")).isdisjoint(reverse.lowest("keep:0.5"))
    draws = [sc.rank_layers(model, [x], "random", seed=seed).scores for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    order = sorted(influence.scores, key=influence.scores.__getitem__)
    assert sorted(influence.lowest("keep:0.5")) == sorted(order[:2])
    assert "block-influence" in str(influence)


@pytest.mark.parametrize(
    "name",
    ["BertForSequenceClassification", "GPT2LMHeadModel", "LlamaForCausalLM", "Gemma3ForCausalLM", "OPTForCausalLM"],
)
def test_the_others_compute_what_they_did_and_the_result_loads_as_a_smaller_model(name, tmp_path):
    model, inputs = tiny(name)
    names = [find_layers(model, inputs).names[number] for number in (0, 2)]
    before = copy.deepcopy(model.config.to_dict())
    small = sc.drop_layers(model, names, inputs)
    hooks = [model.get_submodule(its).register_forward_hook(_identity, with_kwargs=True) for its in names]
    expected = logits(model, inputs)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(logits(small, inputs), expected, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(logits(model, inputs), expected)
    assert model.config.to_dict() == before
    assert small.config.num_hidden_layers == 2
    assert sc.cost(small, inputs).params < sc.cost(model, inputs).params
    small.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, dtype=torch.float64).eval()
    torch.testing.assert_close(logits(again, inputs), logits(small, inputs), rtol=1e-12, atol=1e-12)


def _identity(module, args, kwargs, output):
    given = (*args, *kwargs.values())[0]
    return (given, *output[1:]) if isinstance(output, tuple) else given


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel", "Gemma3ForCausalLM"])
def test_text_is_generated_with_a_cache(name):
    model, inputs = tiny(name)
    small = sc.drop_layers(model, find_layers(model, inputs).names[:2], inputs)
    how = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": -1}
    cached, plain = (small.generate(**inputs, use_cache=use, **how) for use in (True, False))
    assert torch.equal(cached, plain)
    places = [m.layer_idx for m in small.modules() if "layer_idx" in vars(m)]
    assert set(places) == {0, 1}


def test_numbers_that_layers_hold_of_their_places_follow(chain):
    model, x = chain
    small = sc.drop_layers(model, ["blocks.0", "blocks.2"], x)
    assert [block.index for block in small.blocks] == [10, 11]
    assert [name for name, _ in small.named_parameters()][:2] == ["blocks.0.layer.weight", "blocks.0.layer.bias"]
    assert torch.equal(small.blocks[1].layer.weight, model.blocks[3].layer.weight)
    assert [block.index for block in model.blocks] == [10, 11, 12, 13]


def test_the_command_ranks_and_saves(tmp_path):
    model, inputs = tiny("LlamaForCausalLM")
    model.float().save_pretrained(tmp_path / "dense")
    np.savez(tmp_path / "tokens.npz", x=inputs["input_ids"].numpy())
    asked = ["layers", f"hf:{tmp_path / 'dense'}", "--data", f"npz:{tmp_path / 'tokens.npz'}", "--json"]
    told = json.loads(CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "small")]).stdout)
    assert told["dropped"] == [min(told["scores"], key=told["scores"].get)]
    small = type(model).from_pretrained(tmp_path / "small")
    assert small.config.num_hidden_layers == 3
    expected = sc.drop_layers(model, told["dropped"], inputs)
    assert all(torch.equal(its, expected.state_dict()[name]) for name, its in small.state_dict().items())
    again = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "small")])
    assert isinstance(again.exception, PersistError)


def test_a_model_without_some_layers_is_pruned_further():
    model, inputs = tiny("LlamaForCausalLM")
    small = sc.drop_layers(model, ["model.layers.1"], inputs)
    result = sc.prune(small, [inputs], "l2", "keep:0.5", scope="local")
    assert result.model.config.num_hidden_layers == 3
    assert result.cost.params < sc.cost(small, inputs).params


def test_residual_blocks_of_a_network_for_images_go():
    torch.manual_seed(0)
    model, x = BY_NAME["resnet18"].build().eval(), torch.randn(2, 3, 32, 32)
    ranking = sc.rank_layers(model, [x])
    small = sc.drop_layers(model, ranking.lowest("keep:0.4"), x)
    assert sum(len(stage) for stage in (small.layer1, small.layer2, small.layer3, small.layer4)) == 5


def test_no_list_is_emptied():
    model = nn.Sequential(*(nn.Sequential(Block(6, 0), Block(6, 1)) for _ in range(2)))
    ranking = sc.rank_layers(model, [torch.randn(4, 6)])
    assert {name[0] for name in ranking.lowest("keep:0.5")} == {"0", "1"}
    with pytest.raises(InfeasibleBudgetError, match=r"of 4 layers at least 2 stay, keep:0\.5000"):
        ranking.lowest("keep:0.25")


def test_nothing_is_left_behind_when_it_fails(chain):
    model, x = chain
    model.train()
    with pytest.raises(DataError, match=r"blocks\.0: what goes through it is not finite"):
        sc.rank_layers(model, [x, x / 0])
    with pytest.raises(DataError, match="refused batch 1"):
        sc.rank_layers(model, [x, x[..., :3]])
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_result_has_weights_of_its_own(chain):
    model, x = chain
    before = copy.deepcopy(model.state_dict())
    small = sc.drop_layers(model, ["blocks.1"], x)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert all(torch.equal(its, before[name]) for name, its in model.state_dict().items())


def test_a_model_whose_layers_go_by_their_number_is_refused():
    with pytest.raises(VerificationError, match=r"without blocks\.0 .* drop others"):
        sc.drop_layers(Chain(counts=True), ["blocks.0"], torch.randn(2, 6))


def test_a_configuration_that_cannot_tell_stays_and_saving_is_refused(tmp_path):
    model, inputs = tiny("GPT2LMHeadModel")
    model.config.scale_attn_by_inverse_layer_idx = True  # by the number that a layer had when it was built
    model = type(model)(model.config).double().eval()
    small = sc.drop_layers(model, ["transformer.h.1"], inputs)
    assert (len(small.transformer.h), small.config.n_layer) == (3, 4)
    with pytest.raises(PersistError):
        write_pretrained(tmp_path / "small", small, Call((), inputs))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m, x: sc.rank_layers(m, [x], "l2"),
            CriterionError,
            "cannot be scored by .l2., only by block",
        ),
        (lambda m, x: sc.rank_layers(m, []), DataError, "empty"),
        (lambda m, x: sc.rank_layers(m, iter([x])), DataError, "only once"),
        (lambda m, x: sc.rank_layers(m, [x]).lowest("macs:0.5"), BudgetError, "not one for layers"),
        (lambda m, x: sc.rank_layers(m.to("meta"), [x]), ModelError, "needs its weights"),
        (lambda m, x: sc.rank_layers(Chain(residual=False).double(), [x]), ModelError, "no layers"),
        (lambda m, x: sc.drop_layers(m, ["blocks.9"], x), NoMatchError, "'blocks.9' is no layer of this model"),
        (lambda m, x: sc.drop_layers(m, "blocks.0", x), PlanError, "give the names of layers"),
        (lambda m, x: sc.drop_layers(m, [], x), PlanError, "give the names of layers"),
        (lambda m, x: sc.drop_layers(m, [f"blocks.{i}" for i in range(4)], x), PlanError, "one of them must stay"),
    ],
)
def test_bad_input(chain, call, error, message):
    with pytest.raises(error, match=message):
        call(*chain)
