"""Costs: what the structure predicts for a cut model is what is counted on it, for custom operators too."""

import pytest
import torch
from support.models import Apply
from support.plans import random_plan
from torch import nn
from torch.utils.flop_counter import flop_registry, register_flop_formula

import secateurs as sc
from secateurs.structure import temporary_rules, unify


@torch.library.custom_op("secateurs_test::product", mutates_args=())
def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight


class Custom(nn.Module):
    """The product of a custom operator between two linear layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(6, 3)
        self.weight = nn.Parameter(torch.randn(8, 6))

    def forward(self, x):
        return self.b(product(self.a(x).relu(), self.weight).relu())


def product_rule(flow, out, x, weight):
    (rows, inner), (summed, columns) = flow.axes(x), flow.axes(weight)
    unify(inner, summed)
    flow.contract(x, 1, weight, summed)
    flow.add_macs(rows, inner, columns)
    flow.produce(rows, columns)
    return rows, columns


@pytest.fixture(autouse=True)
def _undo():
    formulas = dict(flop_registry)
    with temporary_rules():
        yield
    flop_registry.clear()
    flop_registry.update(formulas)


@pytest.fixture
def formula():
    """A formula that is registered after secateurs was imported."""

    @register_flop_formula(torch.ops.secateurs_test.product)
    def flops(x_shape, weight_shape, *_, out_shape=None, **__):
        return 2 * x_shape[0] * x_shape[1] * weight_shape[1]


LINEAR_MACS = 5 * (4 * 8 + 6 * 3)
X = torch.randn(5, 4)


def test_a_formula_counts_as_soon_as_it_is_registered(request):
    assert sc.cost(Custom(), X).macs == LINEAR_MACS
    request.getfixturevalue("formula")
    assert sc.cost(Custom(), X).macs == LINEAR_MACS + 5 * 8 * 6


@pytest.mark.parametrize("with_formula", [True, False])
def test_the_predicted_cost_is_the_counted_cost_of_the_cut_model(with_formula, request):
    if with_formula:
        request.getfixturevalue("formula")
    sc.rule("secateurs_test::product")(product_rule)
    model = Custom()
    structure = sc.trace(model, X)
    assert {name: group.size for name, group in structure.groups.items()} == {"a": 8, "weight": 6}
    assert structure.cost() == sc.cost(model, X)
    for seed in range(3):
        plan = random_plan(structure, f"keep:{0.3 + 0.2 * seed}", seed)
        small = sc.apply(model, plan, X, structure)
        assert structure.cost(plan.widths) == sc.cost(small, X)
    assert structure.per_sample().cost().macs * len(X) == structure.cost().macs


def test_macs_of_an_operator_without_a_rule_are_a_constant(formula):
    model = Custom()
    structure = sc.trace(model, X)
    assert structure.other_macs == 5 * 8 * 6
    assert structure.cost() == sc.cost(model, X)


def test_a_formula_replaces_the_one_that_secateurs_brings(monkeypatch):
    layers = {"enter": nn.Linear(5, 6), "rnn": nn.LSTM(6, 8), "out": nn.Linear(8, 3)}
    model = Apply(lambda m, x: m.out(m.rnn(m.enter(x))[0]), **layers).eval()
    before = sc.cost(model, torch.randn(7, 2, 5)).macs
    monkeypatch.setitem(flop_registry, torch.ops.aten.mkldnn_rnn_layer, lambda *_, **__: 0)
    assert sc.cost(model, torch.randn(7, 2, 5)).macs == 7 * 2 * (5 * 6 + 8 * 3) < before
