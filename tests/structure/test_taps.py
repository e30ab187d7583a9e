"""Taps: where units are observed, and where the outputs of a layer meet other data."""

import pytest
import torch
import torch.nn.functional as F
from support.models import Apply
from torch import nn

import secateurs as sc


def test_units_are_observed_before_and_after_their_activation(net, images):
    s = sc.trace(net, images)
    ((before, after),) = s.groups["0"].activations
    assert s.groups["0"].after == (after,)
    assert (after.site.module, after.site.operator, after.slot, after.dim) == ("2", "aten::relu", -1, 1)
    assert (before.site, before.slot) == (after.site, 0)
    (pooled,) = s.groups["3"].after  # seen after its ReLU, not where the linear layer reads the pooled map
    assert (pooled.site.module, pooled.site.operator) == ("4", "aten::relu")


def test_functional_activations_need_no_module():
    model = Apply(lambda m, x: m.b(F.relu(m.a(x))), a=nn.Linear(4, 6), b=nn.Linear(6, 3))
    (tap,) = sc.trace(model, torch.randn(2, 4)).groups["a"].after
    assert (tap.site.module, tap.site.operator, tap.slot) == ("", "aten::relu", -1)


def test_units_without_an_activation_are_observed_where_they_are_used():
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    group = sc.trace(model, torch.randn(2, 4)).groups["0"]
    assert [(tap.site.module, tap.site.operator, tap.slot) for tap in group.after] == [("1", "aten::addmm", 1)]
    assert group.activations == ()


BLOCK = {"inner": nn.Linear(6, 8), "outer": nn.Linear(8, 6), "scale": nn.LayerNorm(6), "head": nn.Linear(6, 3)}


def _gelu_in_full(m, x):
    y = m.inner(x)
    return m.head(m.outer(y * torch.tanh(y + 0.04 * y**3)))


@pytest.mark.parametrize(
    ("layer", "forward", "operator", "slots"),
    [
        ("outer", lambda m, x: m.head(x + m.outer(m.inner(x).relu())), "aten::add.Tensor", (1, -1)),
        ("outer", lambda m, x: m.head(m.outer(m.inner(x).relu()) * m.scale.weight + x), "aten::add.Tensor", (0, -1)),
        ("outer", lambda m, x: m.head((m.outer(m.inner(x)) / 2).view(-1, 6).sub_(x)), "aten::sub_.Tensor", (0, -1)),
        ("outer", lambda m, x: m.head(m.outer(m.inner(x)).roll(1, 0) + x), "aten::add.Tensor", (0, -1)),
        ("outer", lambda m, x: m.head(F.silu(m.outer(m.inner(x)))), "aten::silu", (0, 0)),
        ("outer", lambda m, x: m.head(m.outer(m.inner(x))), None, ()),
        ("outer", lambda m, x: m.head(m.scale(m.outer(m.inner(x)))), None, ()),
        ("outer", lambda m, x: m.head(m.outer(m.inner(x)) * F.relu(x) + x), None, ()),
        ("inner", _gelu_in_full, None, ()),
    ],
    ids=["sum", "scaled", "in-place", "rolled", "activation", "layer", "norm", "gate", "gelu"],
)
def test_the_outputs_of_a_layer_arrive_at_a_sum_or_an_activation(layer, forward, operator, slots):
    s = sc.trace(Apply(forward, **BLOCK), torch.randn(2, 6))
    arrival = next(c.arrival for c in s.contractions if c.weight == f"{layer}.weight")
    assert bool(arrival) is bool(slots)
    for tap, slot in zip(arrival or (), slots, strict=True):
        assert (tap.site.operator, tap.slot, tap.dim, tap.size) == (operator, slot, 1, 6)
