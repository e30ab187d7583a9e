"""Dropping layers: the smaller model equals the dense one with these layers replaced by the identity."""

import copy
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.layers import BY_NAME, BlockChain, block_chain, logits, tiny
from support.states import copy_state, equal_states

import secateurs as sc
from secateurs.cli import app
from secateurs.data.call import Call
from secateurs.errors import NoMatchError, PersistError, PlanError, VerificationError
from secateurs.persist.save_pretrained import write_pretrained
from secateurs.pruning.depth.find_layers import find_layers


@pytest.fixture
def chain():
    return block_chain()


def test_a_config_list_of_the_same_length_that_is_unrelated_to_layers_is_unchanged():
    torch.manual_seed(0)
    model = BY_NAME["WhisperForConditionalGeneration"].build().eval()
    small = sc.drop_layers(model, ["model.encoder.layers.0"], BY_NAME["WhisperForConditionalGeneration"].inputs())
    assert small.config.begin_suppress_tokens == model.config.begin_suppress_tokens
    assert (small.config.encoder_layers, small.config.decoder_layers) == (1, 2)


@pytest.mark.parametrize(
    "name",
    ["BertForSequenceClassification", "GPT2LMHeadModel", "LlamaForCausalLM", "Gemma3ForCausalLM", "OPTForCausalLM"],
)
def test_dropped_layers_act_as_the_identity_and_the_smaller_model_reloads(name, tmp_path):
    model, inputs = tiny(name)
    names = [find_layers(model, inputs).names[number] for number in (0, 2)]
    before = copy.deepcopy(model.config.to_dict())
    small = sc.drop_layers(model, names, inputs)
    hooks = [model.get_submodule(layer).register_forward_hook(_identity, with_kwargs=True) for layer in names]
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
def test_cached_generation_equals_uncached_generation_after_dropping(name):
    model, inputs = tiny(name)
    small = sc.drop_layers(model, find_layers(model, inputs).names[:2], inputs)
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": -1}
    cached, plain = (small.generate(**inputs, use_cache=use, **options) for use in (True, False))
    assert torch.equal(cached, plain)
    places = [m.layer_idx for m in small.modules() if "layer_idx" in vars(m)]
    assert set(places) == {0, 1}


def test_layer_indices_are_renumbered_after_dropping(chain):
    model, x = chain
    small = sc.drop_layers(model, ["blocks.0", "blocks.2"], x)
    assert [block.index for block in small.blocks] == [10, 11]
    assert [name for name, _ in small.named_parameters()][:2] == ["blocks.0.layer.weight", "blocks.0.layer.bias"]
    assert torch.equal(small.blocks[1].layer.weight, model.blocks[3].layer.weight)
    assert [block.index for block in model.blocks] == [10, 11, 12, 13]


def test_layers_command_ranks_drops_and_saves(tmp_path):
    model, inputs = tiny("LlamaForCausalLM")
    model.float().save_pretrained(tmp_path / "dense")
    np.savez(tmp_path / "tokens.npz", x=inputs["input_ids"].numpy())
    asked = ["layers", f"hf:{tmp_path / 'dense'}", "--data", f"npz:{tmp_path / 'tokens.npz'}", "--json"]
    result = json.loads(CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "small")]).stdout)
    assert result["dropped"] == [min(result["scores"], key=result["scores"].get)]
    small = type(model).from_pretrained(tmp_path / "small")
    assert small.config.num_hidden_layers == 3
    expected = sc.drop_layers(model, result["dropped"], inputs)
    assert equal_states(small, expected)
    again = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "small")])
    assert isinstance(again.exception, PersistError)


def test_units_can_be_pruned_after_dropping_layers():
    model, inputs = tiny("LlamaForCausalLM")
    small = sc.drop_layers(model, ["model.layers.1"], inputs)
    result = sc.prune(small, [inputs], criterion="l2", budget="keep:0.5", scope="local")
    assert result.model.config.num_hidden_layers == 3
    assert result.cost.params < sc.cost(small, inputs).params


def test_residual_blocks_of_a_resnet_are_dropped():
    torch.manual_seed(0)
    model, x = BY_NAME["resnet18"].build().eval(), torch.randn(2, 3, 32, 32)
    ranking = sc.rank_layers(model, [x])
    small = sc.drop_layers(model, ranking.lowest("keep:0.4"), x)
    assert sum(len(stage) for stage in (small.layer1, small.layer2, small.layer3, small.layer4)) == 5


def test_the_smaller_model_does_not_share_weights_with_the_dense_one(chain):
    model, x = chain
    before = copy_state(model)
    small = sc.drop_layers(model, ["blocks.1"], x)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert equal_states(model, before)


def test_a_model_whose_output_depends_on_its_depth_is_refused():
    with pytest.raises(VerificationError, match=r"without blocks\.0 .* drop other layers"):
        sc.drop_layers(BlockChain(uses_depth=True), ["blocks.0"], torch.randn(2, 6))


def test_save_pretrained_is_refused_when_no_configuration_describes_the_smaller_model(tmp_path):
    model, inputs = tiny("GPT2LMHeadModel")
    model.config.scale_attn_by_inverse_layer_idx = True  # by the number that a layer had when it was built
    model = type(model)(model.config).double().eval()
    small = sc.drop_layers(model, ["transformer.h.1"], inputs)
    assert (len(small.transformer.h), small.config.n_layer) == (3, 4)
    with pytest.raises(PersistError):
        write_pretrained(tmp_path / "small", small, Call((), inputs))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["blocks.9"], NoMatchError, "'blocks.9' is not a layer; the layers that can be dropped are blocks.0"),
        ("blocks.0", PlanError, "names must be a list of layers to drop, not 'blocks.0'"),
        ([], PlanError, "names must be a list of layers to drop"),
        ([f"blocks.{i}" for i in range(4)], PlanError, "keep at least one of them"),
    ],
)
def test_invalid_names_are_refused(chain, names, error, message):
    model, x = chain
    with pytest.raises(error, match=message):
        sc.drop_layers(model, names, x)
