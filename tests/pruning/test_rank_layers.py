"""Ranking layers: residual layers are detected by their structure and ranked by block influence."""

from itertools import pairwise

import pytest
import torch
from support.layers import BY_NAME, BlockChain, ResidualBlock, block_chain, tiny
from torch import nn
from torch.nn import functional

import secateurs as sc
from secateurs.errors import BudgetError, CriterionError, DataError, InfeasibleBudgetError, ModelError
from secateurs.pruning.depth.find_layers import find_layers


@pytest.fixture
def chain():
    return block_chain()


@pytest.mark.parametrize(
    ("name", "names", "frozen"),
    [
        ("BertForSequenceClassification", ["bert.encoder.layer.0", "bert.encoder.layer.1"], 0),
        ("GPT2LMHeadModel", ["transformer.h.0", "transformer.h.1"], 0),
        ("BloomForCausalLM", ["transformer.h.0", "transformer.h.1"], 0),
        ("MixtralForCausalLM", ["model.layers.0", "model.layers.1"], 0),
        (
            "T5ForConditionalGeneration",
            ["encoder.block.1", "decoder.block.1"],
            2,
        ),  # the first blocks have the bias of all
        ("resnet18", ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"], 3),
    ],
)
def test_layers_are_detected_independently_of_their_names(name, names, frozen):
    torch.manual_seed(0)
    layers = find_layers(BY_NAME[name].build(), BY_NAME[name].inputs())
    assert list(layers.names) == names
    assert len(layers.frozen) == frozen


@pytest.mark.parametrize("name", ["AlbertForSequenceClassification", "densenet121"])
def test_modules_that_run_twice_or_have_no_residual_are_not_layers(name):
    with pytest.raises(ModelError, match="no layers that can be dropped"):
        find_layers(BY_NAME[name].build(), BY_NAME[name].inputs())


def test_block_influence_is_one_minus_the_mean_cosine_over_tokens(chain):
    model, x = chain
    ranking = sc.rank_layers(model, x.split(3))
    states = [x]
    with torch.no_grad():
        for block in model.blocks:
            states.append(block(states[-1]))
    expected = [1 - functional.cosine_similarity(a, b, dim=-1).mean() for a, b in pairwise(states)]
    torch.testing.assert_close(list(ranking.scores.values()), [float(value) for value in expected])
    assert list(ranking.scores) == [f"blocks.{number}" for number in range(4)]


def test_block_influence_of_the_identity_is_zero_and_of_a_reversal_is_two():
    class Scaling(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(factor))

        def forward(self, x):
            return x + self.factor * x

    ranking = sc.rank_layers(nn.Sequential(Scaling(0.0), Scaling(-3.0), Scaling(5.0)), [torch.randn(4, 6)])
    assert ranking.scores == pytest.approx({"0": 0, "1": 2, "2": 0}, abs=1e-12)


def test_feature_maps_are_compared_at_each_position():
    torch.manual_seed(0)
    model, x = BY_NAME["resnet18"].build().double().eval(), torch.randn(2, 3, 32, 32).double()
    seen = {}
    model.layer2[1].register_forward_hook(lambda module, args, out: seen.update(x=args[0].clone(), y=out.clone()))
    score = sc.rank_layers(model, [x]).scores["layer2.1"]
    cosine = functional.cosine_similarity(seen["x"], seen["y"], dim=1)
    assert score == pytest.approx(float(1 - cosine.mean()), abs=1e-3)  # the cosine of two zero vectors is taken as one


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "LlamaForCausalLM"])
def test_padding_tokens_do_not_count(name):
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


def test_encoder_and_decoder_have_separate_padding():
    torch.manual_seed(0)
    model = BY_NAME["BartForConditionalGeneration"].build().double().eval()
    ids, decoder_ids = torch.randint(3, 100, (2, 2, 9))
    has = (torch.arange(9) < 6).long().expand(2, 9)
    whole = sc.rank_layers(model, [{"input_ids": ids, "attention_mask": has, "decoder_input_ids": decoder_ids}]).scores
    padded = {"input_ids": ids, "attention_mask": has, "decoder_input_ids": decoder_ids, "decoder_attention_mask": has}
    part = sc.rank_layers(model, [padded]).scores
    short = sc.rank_layers(model, [{"input_ids": ids[:, :6], "decoder_input_ids": decoder_ids[:, :6]}]).scores
    assert part == pytest.approx(short, rel=1e-9)
    assert all((whole[name] == part[name]) == ("encoder.layers" in name) for name in whole)


def test_reversed_rankings_negate_the_scores_and_random_rankings_depend_on_the_seed(chain):
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


def test_at_least_one_layer_of_every_list_is_kept():
    model = nn.Sequential(*(nn.Sequential(ResidualBlock(6, 0), ResidualBlock(6, 1)) for _ in range(2)))
    ranking = sc.rank_layers(model, [torch.randn(4, 6)])
    assert {name[0] for name in ranking.lowest("keep:0.5")} == {"0", "1"}
    with pytest.raises(InfeasibleBudgetError, match=r"at least 2 of 4 layers stay, keep:0\.5000"):
        ranking.lowest("keep:0.25")


def test_a_failed_ranking_restores_the_mode_and_removes_its_hooks(chain):
    model, x = chain
    model.train()
    with pytest.raises(DataError, match=r"the input or output of layer 'blocks.0' is not finite"):
        sc.rank_layers(model, [x, x / 0])
    with pytest.raises(DataError, match="failed on batch 1"):
        sc.rank_layers(model, [x, x[..., :3]])
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x: sc.rank_layers(m, [x], "l2"), CriterionError, "unknown criterion for layers 'l2'; .* block"),
        (lambda m, x: sc.rank_layers(m, []), DataError, "empty"),
        (lambda m, x: sc.rank_layers(m, iter([x])), DataError, "only once"),
        (lambda m, x: sc.rank_layers(m, [x]).lowest("macs:0.5"), BudgetError, "cannot be used for layers"),
        (lambda m, x: sc.rank_layers(m.to("meta"), [x]), ModelError, "needs its weights"),
        (lambda m, x: sc.rank_layers(BlockChain(residual=False).double(), [x]), ModelError, "no layers"),
    ],
)
def test_invalid_arguments_are_refused(chain, call, error, message):
    with pytest.raises(error, match=message):
        call(*chain)
