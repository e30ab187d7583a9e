"""Criteria of single weights: Wanda, EMP, SynFlow, and pruning in rounds."""

import math

import pytest
import torch
from support.models import FAMILIES, build
from support.selection import kept_indices, top_k
from torch import nn

import secateurs as sc
from secateurs.criteria.criterion import Criterion
from secateurs.criteria.registry import CRITERIA
from secateurs.errors import CriterionError, SecateursWarning
from secateurs.pruning.unstructured.mask import mask

WITH_ENTRIES = sorted(name for name, c in CRITERIA.items() if isinstance(c, Criterion) and c.entries)


@pytest.mark.filterwarnings("ignore:all entries of")
@pytest.mark.parametrize("criterion", WITH_ENTRIES)
@pytest.mark.parametrize("scope", ["global", "layer", "row"])
def test_every_entry_criterion_meets_the_budget(net, batches, criterion, scope):
    result = mask(net, batches, criterion, "keep:0.25", scope, rounds=2)
    entries = {"0.weight": 216, "3.weight": 864, "7.weight": 192, "9.weight": 64}
    assert {name: tensor.numel() for name, tensor in result.masks.items()} == entries
    kept = {name: int(tensor.sum()) for name, tensor in result.masks.items()}
    if scope == "global":
        assert sum(kept.values()) == sum(entries.values()) // 4
    else:
        quarters = {name: total // 4 for name, total in entries.items()}
        assert kept == (quarters if scope == "layer" else {**quarters, "0.weight": 8 * (27 // 4)})


def test_wanda_keeps_the_largest_products_of_weight_and_input_norm_for_each_output(net, batches):
    inputs = {}
    hooks = [
        net[i].register_forward_hook(lambda module, args, out, i=i: inputs.setdefault(i, []).append(args[0]))
        for i in (3, 9)
    ]
    net.eval()
    with torch.no_grad():
        for x, _ in batches:
            net(x)
    for hook in hooks:
        hook.remove()
    result = mask(net, batches, budget="keep:0.5")
    assert (result.criterion, result.scope) == ("wanda", "row")
    maps, vectors = (torch.cat(inputs[i]).double() for i in (3, 9))
    linear = net[9].weight.detach().abs() * vectors.norm(dim=0)
    for row, scores in zip(result.masks["9.weight"], linear, strict=True):
        assert kept_indices(row) == top_k(scores.tolist(), 8)
    channels = maps.transpose(0, 1).flatten(1).norm(dim=1)
    convolution = (net[3].weight.detach().abs() * channels[:, None, None]).flatten(1)
    for row, scores in zip(result.masks["3.weight"].flatten(1), convolution, strict=True):
        assert kept_indices(row) == top_k(scores.tolist(), 36)


def test_wanda_masks_weights_whose_inputs_are_in_no_group():
    """The first layer's inputs are the model's own, and lie in no group."""
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Identity())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0]]))
    x = torch.tensor([[3.0, 1.0], [3.0, 1.0]])
    assert mask(model, [x]).masks["0.weight"].tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("criterion", "budget", "scope"),
    [("wanda", "keep:0.5", "row"), ("obs", "keep:0.5", "row"), ("l1", "keep:0.5", "global"), ("l1", "2:4", "row")],
)
def test_default_scope_depends_on_the_criterion(net, batches, criterion, budget, scope):
    assert mask(net, batches, criterion, budget).scope == scope


def effective(scores):
    shares = scores.abs() / scores.abs().sum()
    return math.floor(1 / float(shares.square().sum()))


def test_effective_budget_in_row_scope_is_decided_for_each_output():
    model, (x,) = build("mlp")
    result = mask(model, [x], "l2", "effective", "row")
    for name in ("0.weight", "2.weight", "4.weight"):
        scores = model.get_parameter(name).detach().square()
        for row, kept, proof in zip(scores, result.masks[name], result.certificates[name], strict=True):
            assert kept_indices(kept) == top_k(row.tolist(), effective(row))
            assert (proof.kept, proof.components) == (int(kept.sum()), len(row))
            assert math.isclose(proof.mass, row[kept].sum() / row.sum())


def test_effective_budget_has_one_certificate_for_each_layer_or_one_for_all_weights():
    model, (x,) = build("mlp")
    values = {name: model.get_parameter(name).detach().flatten() for name in ("0.weight", "2.weight", "4.weight")}
    by_layer = mask(model, [x], "l1", "effective:0.5", "layer")
    for name, value in values.items():
        assert int(by_layer.masks[name].sum()) == by_layer.certificates[name][0].kept
        assert by_layer.certificates[name][0].beta == 0.5
        assert effective(value) // 2 <= by_layer.certificates[name][0].kept <= (effective(value) + 1) // 2
    everywhere = mask(model, [x], "l1", "effective", "global")
    assert sum(int(tensor.sum()) for tensor in everywhere.masks.values()) == effective(torch.cat(list(values.values())))
    assert list(everywhere.certificates) == ["all weights"]
    assert not mask(model, [x], "l1").certificates


def chain():
    """One wide layer between narrow ones: it holds nearly all weights, and the same flow as each of the others."""
    model = nn.Sequential(
        nn.Linear(4, 100, bias=False), nn.ReLU(), nn.Linear(100, 100, bias=False), nn.ReLU(),
        nn.Linear(100, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False),
    )  # fmt: skip
    return model, sc.trace(model, torch.randn(2, 4))


def test_iterative_synflow_keeps_every_layer_connected_where_one_shot_removes_a_whole_layer():
    model, s = chain()
    with pytest.warns(SecateursWarning, match=r"all entries of '2.weight' are removed, .*keep more"):
        once = mask(model, None, "synflow", "keep:0.01", structure=s, rounds=1)
    assert once.kept["2.weight"] == 0
    result = mask(model, None, "synflow", "keep:0.01", structure=s)
    assert all(result.kept.values())
    assert sum(int(tensor.sum()) for tensor in result.masks.values()) == int(0.01 * 10706)
    assert result.model(torch.rand(50, 4)).isfinite().all()


def test_one_round_of_synflow_ranks_by_the_synaptic_flow_through_each_weight():
    model, s = chain()
    with torch.no_grad():
        a, b, c, d = (model[i].weight.abs().double() for i in (0, 2, 4, 6))
        onwards = (d.sum(0) @ c @ b)[:, None] * a  # on inputs of one
        selected = mask(model, None, "synflow", "keep:0.2", "layer", structure=s, rounds=1).masks["0.weight"]
    assert kept_indices(selected) == top_k(onwards.flatten().tolist(), 80)


def test_each_round_scores_the_masked_network_again(net, batches):
    """After the first round, gradients are those of the masked network."""
    result = mask(net, batches, "taylor", "keep:0.25", "layer", rounds=2)
    half = mask(net, batches, "taylor", "keep:0.5", "layer")
    again = mask(half.model, batches, "taylor", "keep:0.25", "layer")
    for name, tensor in result.masks.items():
        assert torch.equal(tensor, again.masks[name])
    assert not torch.equal(
        result.masks["3.weight"], mask(net, batches, "taylor", "keep:0.25", "layer").masks["3.weight"]
    )


def test_removed_entries_stay_removed_in_later_rounds(net, batches):
    smallest = Criterion("smallest", lambda e: torch.zeros(e.group.size), "", True, entries=lambda w: -w.value.abs())
    result, half = (mask(net, batches, smallest, *options) for options in (("keep:0.25",), ("keep:0.5",)))
    again = mask(net, batches, smallest, "keep:0.25", rounds=4)
    for name, tensor in again.masks.items():
        assert torch.equal(tensor, result.masks[name])
        assert (tensor <= half.masks[name]).all()


def test_random_masks_are_determined_by_the_seed(net, batches):
    a, b, c = (mask(net, batches, "random", seed=seed).masks["3.weight"] for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    ("entries", "message"),
    [(lambda w: w.value.sum(0), "scores of shape"), (lambda w: w.nothing, "failed with AttributeError")],
)
def test_error_of_a_failing_criterion_names_the_criterion_and_the_weight(net, batches, entries, message):
    mine = Criterion("mine", lambda e: torch.zeros(e.group.size), "", True, entries=entries)
    with pytest.raises(CriterionError, match=f"'mine', entries of weight '0.weight': {message}"):
        mask(net, batches, mine)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"depthwise", "depth multiplier", "lstm"}))
def test_wanda_masks_every_weight_of_every_model_family(name):
    model, inputs = build(name)
    result = mask(model, [(inputs,)])
    weights = {name for name, p in model.named_parameters() if p.ndim > 1} - {"unused"}
    assert set(result.masks) == weights
    assert 0.5 <= result.sparsity < 0.63  # an odd row keeps the smaller half
