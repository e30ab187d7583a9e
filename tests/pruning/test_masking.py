"""Masks against slow definitions, entry by entry."""

import copy
import itertools
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import FAMILIES, build
from torch import nn

import secateurs as sc
from secateurs.budgets.top_k import best
from secateurs.criteria.criterion import Criterion
from secateurs.criteria.registry import CRITERIA
from secateurs.errors import (
    BudgetError,
    CriterionError,
    DataError,
    ModelError,
    NoMatchError,
    SecateursWarning,
    UnscoredWarning,
    UsageError,
)
from secateurs.pruning.unstructured.mask import mask
from secateurs.pruning.unstructured.masked import Masked

WITH_ENTRIES = sorted(name for name, c in CRITERIA.items() if isinstance(c, Criterion) and c.entries)


def top(scores, count):
    """The indices of the best `count`, the first of equals first."""
    return set(sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))[:count])


def outputs_of_weight(weight, kind, groups=1):
    """For each output, the entries that it sums over, as index tuples [input][tap], from the layer's definition."""
    taps = list(itertools.product(*(range(size) for size in weight.shape[2:])))
    if kind == "columns":  # x @ weight
        return [[[(i, o)] for i in range(weight.shape[0])] for o in range(weight.shape[1])]
    if kind == "transposed":  # [groups × inputs, outputs, taps]
        inputs = weight.shape[0] // groups
        return [
            [[(g * inputs + i, o, *tap) for tap in taps] for i in range(inputs)]
            for g in range(groups)
            for o in range(weight.shape[1])
        ]
    return [[[(o, i, *tap) for tap in taps] for i in range(weight.shape[1])] for o in range(weight.shape[0])]


def rows_kept(weight, outputs, share):
    """The mask that keeps the largest magnitudes of each output."""
    expected = torch.zeros(weight.shape, dtype=torch.bool)
    for inputs in outputs:
        entries = [entry for taps in inputs for entry in taps]
        for i in top([weight[entry].abs() for entry in entries], max(math.floor(share * len(entries)), 1)):
            expected[entries[i]] = True
    return expected


LAYERS = [
    ("mlp", "2.weight", "linear", 1),
    ("mlp on tokens", "3.weight", "linear", 1),
    ("bare parameters", "w2", "columns", 1),
    ("vgg", "3.weight", "convolution", 1),
    ("grouped", "2.weight", "convolution", 4),
    ("transposed", "2.weight", "transposed", 1),
    ("transposed", "4.weight", "transposed", 2),
    ("1-d", "4.weight", "convolution", 1),
    ("3-d", "b.weight", "convolution", 1),
    ("shared", "twice.weight", "linear", 1),
]


@pytest.mark.parametrize(("name", "weight", "kind", "groups"), LAYERS)
def test_rows_keep_the_best_entries_of_each_output(name, weight, kind, groups):
    model, inputs = build(name)
    found = mask(model, [(inputs,)], "l1", "keep:0.4", "row").masks[weight]
    value = model.get_parameter(weight).detach()
    assert torch.equal(found, rows_kept(value, outputs_of_weight(value, kind, groups), 0.4))


@pytest.mark.parametrize(("name", "weight", "kind", "groups"), LAYERS)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 3), (5, 8)])
def test_patterns_keep_n_of_m_neighbouring_inputs_and_the_last_few_keep_no_more(name, weight, kind, groups, n, m):
    model, inputs = build(name)
    found = mask(model, [(inputs,)], "l1", f"{n}:{m}").masks[weight]
    value = model.get_parameter(weight).detach()
    expected = torch.zeros(value.shape, dtype=torch.bool)
    for inputs in outputs_of_weight(value, kind, groups):
        for neighbours in zip(*inputs, strict=True):  # those of one tap
            for start in range(0, len(neighbours), m):
                block = neighbours[start : start + m]
                for i in top([value[entry].abs() for entry in block], min(n, len(block))):
                    expected[block[i]] = True
    assert torch.equal(found, expected)


def test_layers_keep_their_own_best_entries_and_the_global_scope_those_of_all(net, batches):
    weights = {name: net.get_parameter(name).detach() for name in ("0.weight", "3.weight", "7.weight", "9.weight")}
    by_layer = mask(net, batches, "l1", "keep:0.3", "layer").masks
    assert list(by_layer) == list(weights)
    for name, value in weights.items():
        chosen = by_layer[name].flatten().nonzero().flatten().tolist()
        assert set(chosen) == top(value.abs().flatten().tolist(), int(0.3 * value.numel()))
    joined = torch.cat([value.abs().flatten() for value in weights.values()])
    everywhere = torch.cat([its.flatten() for its in mask(net, batches, "l1", "keep:0.3", "global").masks.values()])
    assert set(everywhere.nonzero().flatten().tolist()) == top(joined.tolist(), int(0.3 * len(joined)))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.integers(1, 12), st.data())
def test_exactly_as_many_as_asked_are_best_and_ties_go_to_the_lower_index(pools, entries, data):
    values = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=entries, max_size=entries)
    scores = torch.tensor(data.draw(st.lists(values, min_size=pools, max_size=pools)))
    counts = data.draw(st.lists(st.integers(0, entries), min_size=pools, max_size=pools))
    found = best(scores, torch.tensor(counts))
    for row, its, count in zip(scores, found, counts, strict=True):
        assert set(its.nonzero().flatten().tolist()) == top(row.tolist(), count)


def test_ties_among_very_many_go_to_the_lower_index_too():
    scores = torch.randint(3, (1, 20_000)).float()
    found = best(scores, torch.tensor([9_000]))[0].nonzero().flatten().tolist()
    assert set(found) == top(scores[0].tolist(), 9_000)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 1), st.sampled_from(["global", "layer", "row"]), st.integers(1, 3))
def test_any_share_is_kept_to_the_entry_even_among_equals(share, scope, rounds):
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight.sign())
    s = sc.trace(model, torch.randn(2, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecateursWarning)  # a small share may empty a layer
        masks = mask(model, None, "l1", f"keep:{share}", scope, structure=s, rounds=rounds).masks

    def number(entries):
        return max(math.floor(share * entries + 1e-9), 1)

    if scope == "global":
        assert sum(int(its.sum()) for its in masks.values()) == number(50)
    elif scope == "layer":
        assert [int(its.sum()) for its in masks.values()] == [number(35), number(15)]
    else:
        assert masks["0.weight"].sum(1).tolist() == [number(7)] * 5
        assert masks["2.weight"].sum(1).tolist() == [number(5)] * 3


@pytest.mark.filterwarnings("ignore:no entry is left")
@pytest.mark.parametrize("criterion", WITH_ENTRIES)
@pytest.mark.parametrize("scope", ["global", "layer", "row"])
def test_every_criterion_of_entries_meets_the_budget(net, batches, criterion, scope):
    result = mask(net, batches, criterion, "keep:0.25", scope, rounds=2)
    entries = {"0.weight": 216, "3.weight": 864, "7.weight": 192, "9.weight": 64}
    assert {name: its.numel() for name, its in result.masks.items()} == entries
    kept = {name: int(its.sum()) for name, its in result.masks.items()}
    if scope == "global":
        assert sum(kept.values()) == sum(entries.values()) // 4
    else:
        quarters = {name: total // 4 for name, total in entries.items()}
        assert kept == (quarters if scope == "layer" else {**quarters, "0.weight": 8 * (27 // 4)})


def test_wanda_keeps_the_largest_weight_times_norm_of_its_input_per_output(net, batches):
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
        assert set(row.nonzero().flatten().tolist()) == top(scores.tolist(), 8)
    channels = maps.transpose(0, 1).flatten(1).norm(dim=1)
    convolution = (net[3].weight.detach().abs() * channels[:, None, None]).flatten(1)
    for row, scores in zip(result.masks["3.weight"].flatten(1), convolution, strict=True):
        assert set(row.nonzero().flatten().tolist()) == top(scores.tolist(), 36)


def test_wanda_looks_at_every_weight_whether_its_inputs_can_be_removed_or_not():
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
def test_the_scope_follows_from_what_the_scores_mean(net, batches, criterion, budget, scope):
    assert mask(net, batches, criterion, budget).scope == scope


def effective(scores):
    shares = scores.abs() / scores.abs().sum()
    return math.floor(1 / float(shares.square().sum()))


def test_emp_decides_for_each_output_by_itself():
    model, (x,) = build("mlp")
    result = mask(model, [x], "l2", "effective", "row")
    for name in ("0.weight", "2.weight", "4.weight"):
        scores = model.get_parameter(name).detach().square()
        for row, kept, proof in zip(scores, result.masks[name], result.certificates[name], strict=True):
            assert set(kept.nonzero().flatten().tolist()) == top(row.tolist(), effective(row))
            assert (proof.kept, proof.components) == (int(kept.sum()), len(row))
            assert math.isclose(proof.mass, row[kept].sum() / row.sum())


def test_emp_decides_for_layers_and_for_all_weights_with_one_certificate_each():
    model, (x,) = build("mlp")
    values = {name: model.get_parameter(name).detach().flatten() for name in ("0.weight", "2.weight", "4.weight")}
    by_layer = mask(model, [x], "l1", "effective:0.5", "layer")
    for name, value in values.items():
        assert int(by_layer.masks[name].sum()) == by_layer.certificates[name][0].kept
        assert by_layer.certificates[name][0].beta == 0.5
        assert effective(value) // 2 <= by_layer.certificates[name][0].kept <= (effective(value) + 1) // 2
    everywhere = mask(model, [x], "l1", "effective", "global")
    assert sum(int(its.sum()) for its in everywhere.masks.values()) == effective(torch.cat(list(values.values())))
    assert list(everywhere.certificates) == ["all weights"]
    assert not mask(model, [x], "l1").certificates


def chain():
    """One wide layer between narrow ones: it holds nearly all weights, and the same flow as each of the others."""
    model = nn.Sequential(
        nn.Linear(4, 100, bias=False), nn.ReLU(), nn.Linear(100, 100, bias=False), nn.ReLU(),
        nn.Linear(100, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False),
    )  # fmt: skip
    return model, sc.trace(model, torch.randn(2, 4))


def test_synflow_in_rounds_empties_no_layer_where_one_shot_does():
    model, s = chain()
    with pytest.warns(SecateursWarning, match=r"no entry is left of '2.weight', .*keep more"):
        once = mask(model, None, "synflow", "keep:0.01", structure=s, rounds=1)
    assert once.kept["2.weight"] == 0
    result = mask(model, None, "synflow", "keep:0.01", structure=s)
    assert all(result.kept.values())
    assert sum(int(its.sum()) for its in result.masks.values()) == int(0.01 * 10706)
    assert result.model(torch.rand(50, 4)).isfinite().all()


def test_one_round_of_synflow_ranks_by_the_flow_through_each_weight():
    model, s = chain()
    with torch.no_grad():
        a, b, c, d = (model[i].weight.abs().double() for i in (0, 2, 4, 6))
        onwards = (d.sum(0) @ c @ b)[:, None] * a  # on inputs of one
        found = mask(model, None, "synflow", "keep:0.2", "layer", structure=s, rounds=1).masks["0.weight"]
    assert set(found.flatten().nonzero().flatten().tolist()) == top(onwards.flatten().tolist(), 80)


def test_rounds_score_what_is_left_anew(net, batches):
    """After the first round, gradients are those of the masked network."""
    result = mask(net, batches, "taylor", "keep:0.25", "layer", rounds=2)
    half = mask(net, batches, "taylor", "keep:0.5", "layer")
    again = mask(half.model, batches, "taylor", "keep:0.25", "layer")
    for name, its in result.masks.items():
        assert torch.equal(its, again.masks[name])
    assert not torch.equal(
        result.masks["3.weight"], mask(net, batches, "taylor", "keep:0.25", "layer").masks["3.weight"]
    )


def test_what_is_removed_stays_removed_whatever_zeros_would_score(net, batches):
    smallest = Criterion("smallest", lambda e: torch.zeros(e.group.size), "", True, entries=lambda w: -w.value.abs())
    result, half = (mask(net, batches, smallest, *options) for options in (("keep:0.25",), ("keep:0.5",)))
    again = mask(net, batches, smallest, "keep:0.25", rounds=4)
    for name, its in again.masks.items():
        assert torch.equal(its, result.masks[name])
        assert (its <= half.masks[name]).all()


def test_the_model_is_not_touched_and_its_copy_keeps_all_but_the_removed_entries(net, batches):
    net.train()
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    result = mask(net, batches, "taylor", "keep:0.5")
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])
        expected = tensor * result.masks[name] if name in result.masks else tensor
        assert torch.equal(result.model.state_dict()[name], expected)
    assert not {id(p) for p in net.parameters()} & {id(p) for p in result.model.parameters()}


def test_shared_weights_are_masked_once_and_stay_shared():
    model, (x,) = build("shared")
    result = mask(model, [x], "wanda", "keep:0.5")
    assert list(result.masks) == ["enter.weight", "twice.weight", "leave.weight"]
    assert result.model.also.weight is result.model.twice.weight
    assert int((result.model.also.weight == 0).sum()) == 32


def test_masks_hold_through_training_with_reapply_after_each_step(net, batches):
    result = mask(net, batches, "l1", "keep:0.3")

    def optimizer(parameters):
        made = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        made.register_step_post_hook(lambda *_: result.reapply())
        return made

    before = result.model[9].weight.detach().clone()
    sc.finetune(result.model, batches, sc.Recovery(epochs=2, lr=0.1), optimizer=optimizer)
    assert not torch.equal(result.model[9].weight, before)
    for name, its in result.masks.items():
        assert torch.equal(result.model.get_parameter(name) != 0, its)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.inner, self.head = nn.Embedding(10, 6), nn.Linear(6, 6), nn.Linear(6, 10, bias=False)
        self.head.weight = self.table.weight
        self.other, self.place = nn.Embedding(10, 6), nn.Parameter(torch.randn(1, 5, 6))
        self.scale, self.unused = nn.Parameter(torch.randn(6, 1)), nn.Linear(3, 3)

    def forward(self, tokens):
        x = self.table(tokens) + self.other(tokens) + self.place
        return self.head(self.inner(x * self.scale[:, 0]).relu())


def test_tables_and_what_is_no_weight_are_left_alone_with_a_reason():
    data = [torch.randint(10, (4, 5))]
    with pytest.warns(UnscoredWarning, match=r"^criterion 'wanda' leaves these weights whole: 'place' \(no linear"):
        result = mask(Tied(), data)
    assert list(result.masks) == ["inner.weight"]
    assert list(result.skipped) == ["place", "table.weight", "other.weight", "unused.weight"]
    assert result.skipped["table.weight"] == "rows of it are looked up"
    assert result.skipped["unused.weight"] == "not used in the forward pass"


def test_weights_whose_inputs_cannot_be_observed_are_left_whole_with_a_warning():
    model, inputs = build("depthwise")
    with pytest.warns(UnscoredWarning, match=r"'2.weight' \(no linear layer or convolution is seen to sum over it\)"):
        result = mask(model, [(inputs,)])
    assert torch.equal(result.model[2].weight, model[2].weight)
    assert list(result.masks) == ["0.weight", "5.weight"]


def test_weights_that_a_criterion_cannot_score_are_left_whole_with_a_warning(net, batches):
    def only_small(weight):
        if weight.value.numel() > 200:
            raise sc.errors.UnscorableError("it is too large")
        return weight.value.abs()

    picky = Criterion("picky", lambda e: torch.zeros(e.group.size), "", True, entries=only_small)
    with pytest.warns(UnscoredWarning, match=r"'0.weight' \(it is too large\); '3.weight'"):
        assert list(mask(net, batches, picky).masks) == ["7.weight", "9.weight"]


@pytest.mark.parametrize("keep", ["twice", "twice.*", "also.weight", ["also"]])
def test_patterns_leave_weights_alone_under_each_of_their_names(keep):
    model, (x,) = build("shared")
    result = mask(model, [x], "l1", keep=keep)
    assert list(result.masks) == ["enter.weight", "leave.weight"]
    assert "kept: " in result.skipped["twice.weight"]
    assert torch.equal(result.model.twice.weight, model.twice.weight)


def test_random_masks_come_from_the_seed(net, batches):
    a, b, c = (mask(net, batches, "random", seed=seed).masks["3.weight"] for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_any_floating_type_will_do(net, batches, dtype):
    data = [(x.to(dtype), y) for x, y in batches]
    result = mask(net.to(dtype), data, "wanda", "2:4")
    assert result.model[3].weight.dtype == dtype
    assert result.kept["3.weight"] == 0.5


def test_it_prints_what_was_kept_and_that_nothing_is_faster_by_itself(net, batches):
    result = mask(net, batches, "l1", "effective", "row", keep=["9"])
    assert isinstance(result, Masked)
    text = str(result)
    assert "0.weight  8 × 3 × 3 × 3       216" in text
    assert "effective, 3.weight: mean of 12 rows" in text
    assert "9.weight  kept: '9'" in text
    assert f"{result.sparsity:.1%} of these entries are zero." in text
    assert "size and speed do not change by themselves" in text
    kept = sum(int(its.sum()) for its in result.masks.values())
    assert math.isclose(result.sparsity, 1 - kept / sum(its.numel() for its in result.masks.values()))
    assert "N_eff" in str(mask(net, batches, "l1", "effective"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"criterion": "nexp"}, CriterionError, r"'nexp' scores whole units only; those .* are: fisher, grasp, l1, l2"),
        ({"criterion": "0.5*l1+0.5*l2"}, CriterionError, "whole units only"),
        ({"criterion": "wandy"}, CriterionError, "unknown criterion"),
        ({"budget": "macs:0.5"}, BudgetError, r'\'macs:0.5\' cannot be used for single weights, nor a pattern "N:M"'),
        ({"budget": "keep:0"}, BudgetError, "keep:F"),
        ({"budget": "effective:-1"}, BudgetError, "factor B > 0"),
        ({"budget": "4:2"}, BudgetError, "1 ≤ N < M"),
        ({"budget": "0:4"}, BudgetError, "1 ≤ N < M"),
        ({"budget": "2:4", "scope": "row"}, BudgetError, "'2:4' says itself which entries compete"),
        ({"scope": "local"}, BudgetError, "'local' is none of global, layer, row"),
        ({"keep": ["heads"]}, NoMatchError, "'heads' matches no module or parameter"),
        ({"keep": ["*"]}, BudgetError, r"nothing to mask: .*'0.weight' \(kept: '\*'\)"),
        ({"loss": nn.functional.cross_entropy}, CriterionError, "'wanda' needs no gradients"),
        ({"rounds": 0}, UsageError, "rounds must be a number ≥ 1, not 0"),
    ],
)
def test_bad_arguments(net, batches, options, error, message):
    with pytest.raises(error, match=message):
        mask(net, batches, **options)


def test_bad_data_and_models(net, batches):
    s = sc.trace(net, batches[0][0])
    with pytest.raises(CriterionError, match="'wanda' needs data"):
        mask(net, None, structure=s)
    with pytest.raises(CriterionError, match="give the structure"):
        mask(net, None, "l1")
    with pytest.raises(DataError, match="reads the data 2 times"):
        mask(net, iter(batches), "grasp", structure=s)
    with pytest.raises(DataError, match="reads the data 3 times"):
        mask(net, iter(batches), "wanda", structure=s, rounds=3)
    with pytest.raises(DataError, match="no targets"):
        mask(net, [x for x, _ in batches], "taylor")
    with pytest.raises(ModelError, match="masking needs its weights"):
        mask(nn.Linear(3, 3, device="meta"), [torch.randn(2, 3)])
    with torch.no_grad():
        net[3].weight[0, 0] = float("nan")
    with pytest.raises(CriterionError, match=r"'l1', entries of weight '3.weight': 9 scores are not finite"):
        mask(net, None, "l1", structure=s)


def test_one_pass_over_an_iterator_is_enough_for_one_round(net, batches):
    s = sc.trace(net, batches[0][0])
    once, often = mask(net, iter(batches), structure=s), mask(net, batches, structure=s)
    assert all(torch.equal(once.masks[name], often.masks[name]) for name in often.masks)


@pytest.mark.parametrize(
    ("entries", "message"),
    [(lambda w: w.value.sum(0), "scores of shape"), (lambda w: w.nothing, "failed with AttributeError")],
)
def test_a_criterion_that_fails_is_named_with_the_weight(net, batches, entries, message):
    mine = Criterion("mine", lambda e: torch.zeros(e.group.size), "", True, entries=entries)
    with pytest.raises(CriterionError, match=f"'mine', entries of weight '0.weight': {message}"):
        mask(net, batches, mine)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"depthwise", "depth multiplier", "lstm"}))
def test_wanda_masks_half_of_every_weight_of_the_families(name):
    model, inputs = build(name)
    result = mask(model, [(inputs,)])
    weights = {name for name, p in model.named_parameters() if p.ndim > 1} - {"unused"}
    assert set(result.masks) == weights
    assert 0.5 <= result.sparsity < 0.63  # an odd row keeps its smaller half
