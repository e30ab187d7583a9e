"""Which entries `mask` keeps: every scope and pattern against a slow definition, entry by entry."""

import itertools
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import build
from support.selection import kept_indices, top_k
from torch import nn

import secateurs as sc
from secateurs.budgets.top_k import best
from secateurs.errors import SecateursWarning
from secateurs.pruning.unstructured.mask import mask


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
        for i in top_k([weight[entry].abs() for entry in entries], max(math.floor(share * len(entries)), 1)):
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
def test_row_scope_keeps_the_best_entries_of_each_output(name, weight, kind, groups):
    model, inputs = build(name)
    selected = mask(model, [(inputs,)], "l1", "keep:0.4", "row").masks[weight]
    value = model.get_parameter(weight).detach()
    assert torch.equal(selected, rows_kept(value, outputs_of_weight(value, kind, groups), 0.4))


@pytest.mark.parametrize(("name", "weight", "kind", "groups"), LAYERS)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 3), (5, 8)])
def test_pattern_keeps_n_of_m_consecutive_inputs_and_at_most_n_of_a_shorter_block(name, weight, kind, groups, n, m):
    model, inputs = build(name)
    selected = mask(model, [(inputs,)], "l1", f"{n}:{m}").masks[weight]
    value = model.get_parameter(weight).detach()
    expected = torch.zeros(value.shape, dtype=torch.bool)
    for inputs in outputs_of_weight(value, kind, groups):
        for neighbours in zip(*inputs, strict=True):  # the entries of one tap
            for start in range(0, len(neighbours), m):
                block = neighbours[start : start + m]
                for i in top_k([value[entry].abs() for entry in block], min(n, len(block))):
                    expected[block[i]] = True
    assert torch.equal(selected, expected)


def test_layer_scope_keeps_the_best_entries_of_each_weight_and_global_scope_those_of_all_weights(net, batches):
    weights = {name: net.get_parameter(name).detach() for name in ("0.weight", "3.weight", "7.weight", "9.weight")}
    by_layer = mask(net, batches, "l1", "keep:0.3", "layer").masks
    assert list(by_layer) == list(weights)
    for name, value in weights.items():
        chosen = by_layer[name].flatten().nonzero().flatten().tolist()
        assert set(chosen) == top_k(value.abs().flatten().tolist(), int(0.3 * value.numel()))
    joined = torch.cat([value.abs().flatten() for value in weights.values()])
    everywhere = torch.cat(
        [tensor.flatten() for tensor in mask(net, batches, "l1", "keep:0.3", "global").masks.values()]
    )
    assert kept_indices(everywhere) == top_k(joined.tolist(), int(0.3 * len(joined)))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.integers(1, 12), st.data())
def test_best_selects_the_exact_count_and_prefers_the_lower_index_among_equal_scores(pools, entries, data):
    values = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=entries, max_size=entries)
    scores = torch.tensor(data.draw(st.lists(values, min_size=pools, max_size=pools)))
    counts = data.draw(st.lists(st.integers(0, entries), min_size=pools, max_size=pools))
    selected = best(scores, torch.tensor(counts))
    for row, tensor, count in zip(scores, selected, counts, strict=True):
        assert kept_indices(tensor) == top_k(row.tolist(), count)


def test_best_prefers_the_lower_index_among_thousands_of_equal_scores():
    scores = torch.randint(3, (1, 20_000)).float()
    selected = best(scores, torch.tensor([9_000]))[0].nonzero().flatten().tolist()
    assert set(selected) == top_k(scores[0].tolist(), 9_000)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 1), st.sampled_from(["global", "layer", "row"]), st.integers(1, 3))
def test_any_share_is_kept_exactly_even_among_equal_scores(share, scope, rounds):
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
        assert sum(int(tensor.sum()) for tensor in masks.values()) == number(50)
    elif scope == "layer":
        assert [int(tensor.sum()) for tensor in masks.values()] == [number(35), number(15)]
    else:
        assert masks["0.weight"].sum(1).tolist() == [number(7)] * 5
        assert masks["2.weight"].sum(1).tolist() == [number(5)] * 3
