"""Experts go whole, with their rows of the router; those that stay compute what they would if the others lost."""

import math

import pytest
import torch
from torch import nn

import secateurs as sc
from secateurs.budgets.plan import GroupPlan
from secateurs.errors import InfeasibleBudgetError, PlanError, PutBackWarning
from secateurs.surgery.apply import apply_and_report


class LookedUp(nn.Module):
    """The weights of the chosen experts are looked up for each row."""

    def __init__(self):
        super().__init__()
        self.top, self.inlet, self.router = 2, nn.Linear(6, 8), nn.Linear(8, 5)
        self.up, self.down = nn.Parameter(torch.randn(5, 8, 12)), nn.Parameter(torch.randn(5, 12, 8))
        self.out, self.count = nn.Linear(8, 3), 5

    def forward(self, x, ban=()):
        x = self.inlet(x)
        odds = self.router(x)
        if ban:
            odds = odds.index_fill(-1, torch.tensor(ban), -math.inf)
        weights, chosen = odds.softmax(-1).topk(self.top, -1)
        return self.out((self.run(x, chosen) * weights.unsqueeze(-1)).sum(1))

    def run(self, x, chosen):
        inner = (x[:, None, None] @ self.up[chosen]).relu()
        return (inner @ self.down[chosen]).squeeze(-2)


class Grouped(LookedUp):
    """Rows are sorted by expert and multiplied group by group, as large models do."""

    def run(self, x, chosen):
        ordered, order = chosen.flatten().sort()
        rows = torch.histc(ordered.float(), bins=self.count, min=0, max=self.count - 1)
        ends = rows.cumsum(0, dtype=torch.int32)
        product = nn.functional.grouped_mm
        inner = product(x[order // self.top], self.up, offs=ends).relu()
        return product(inner, self.down, offs=ends)[order.argsort()].unflatten(0, chosen.shape)


@pytest.fixture(params=[LookedUp, Grouped])
def mixture(request):
    return request.param().eval()


@pytest.fixture
def rows():
    return torch.randn(7, 6)


def keep(structure, **kept):
    groups = {name: GroupPlan(units=structure.group(name).size, keep=units) for name, units in kept.items()}
    cost = structure.cost({name: len(units) for name, units in kept.items()})
    return sc.Plan(groups=groups, budget="keep:0.5", scope="local", dense=structure.cost(), pruned=cost, frozen={})


def test_experts_and_their_neurons_are_groups(mixture, rows):
    groups = sc.trace(mixture, rows).groups
    assert {name: (g.kind, g.size, bool(g.inexact)) for name, g in groups.items()} == {
        "inlet": ("neuron", 8, False),
        "router": ("expert", 5, True),
        "up": ("neuron", 12, False),
        "down": ("neuron", 8, False),
    }
    assert [str(m) for m in groups["router"].members] == ["router.weight[0]", "router.bias[0]", "up[0]", "down[0]"]


def test_the_experts_that_stay_are_chosen_as_if_the_others_had_lost(mixture, rows):
    structure = sc.trace(mixture, rows)
    cut = apply_and_report(mixture, keep(structure, router=(0, 2, 3)), rows, structure)
    assert not cut.put_back
    assert list(cut.inexact) == ["router"]
    torch.testing.assert_close(cut.model(rows), mixture(rows, ban=(1, 4)))


def test_as_many_experts_stay_as_are_chosen(mixture, rows):
    structure = sc.trace(mixture, rows)
    scores = {"router": torch.arange(5.0)}
    assert sc.allocate(structure, scores, "keep:0.4").keep["router"] == (3, 4)
    with pytest.raises(InfeasibleBudgetError, match="lowest feasible budget"):
        sc.allocate(structure, scores, "keep:0.2")
    with pytest.raises(PlanError, match="must keep at least 2 units"):
        sc.apply(mixture, keep(structure, router=(3,)), rows, structure)


def test_a_softmax_over_units_that_are_no_experts_freezes_them():
    model = nn.Sequential(nn.Linear(4, 6), nn.Softmax(-1), nn.Linear(6, 2))
    structure = sc.trace(model, torch.randn(3, 4))
    assert structure.frozen["0"] == "aten::_softmax runs along this axis"
    assert not structure.groups


def test_a_table_indexed_by_data_is_no_mixture():
    class Table(LookedUp):
        def run(self, x, chosen):
            return super().run(x, chosen % 5)  # no longer what the router chose

    structure = sc.trace(Table(), torch.randn(7, 6))
    assert "router" in structure.frozen


def test_choices_that_are_changed_in_place_are_no_choices_any_more():
    class Shifted(LookedUp):
        def run(self, x, chosen):
            chosen += 1
            chosen %= 5
            return super().run(x, chosen)

    structure = sc.trace(Shifted(), torch.randn(7, 6))
    assert "router" in structure.frozen
    assert "router" not in structure.groups


# What each expert's matrix is multiplied with


@pytest.fixture
def grouped():
    return Grouped().eval()


def rows_of(model, x):
    """What goes into each expert's second matrix, and what becomes of it: [rows, features] each."""
    with torch.no_grad():
        h = model.inlet(x)
        chosen = model.router(h).softmax(-1).topk(model.top, -1).indices
        seen = [torch.cat([h[n : n + 1] for n, its in enumerate(chosen) if e in its] or [h[:0]]) for e in range(5)]
        return [(its @ up).relu() for its, up in zip(seen, model.up, strict=True)]


def test_each_expert_has_its_own_operands(grouped):
    x = torch.randn(40, 6)
    batches = [x[:3], x[3:17], x[17:]]  # of the first, some experts see nothing
    structure = sc.trace(grouped, x[:2])
    found = sc.score_many(grouped, batches, ["wanda", "flap"], structure)
    inner, down = rows_of(grouped, x), grouped.down.detach()
    each = list(zip(inner, down, strict=True))
    wanda = torch.stack([its.square().mean(0).sqrt() * w.abs().sum(1) for its, w in each]).mean(0)
    flap = torch.stack([its.var(0, correction=0) * w.square().sum(1) for its, w in each]).mean(0)
    torch.testing.assert_close(found["wanda"]["up"].float(), wanda)
    torch.testing.assert_close(found["flap"]["up"].float(), (flap - flap.mean()) / flap.std(), rtol=1e-4, atol=1e-5)


def test_a_neuron_that_its_expert_predicts_goes_without_a_change(grouped):
    """In each expert from another one."""
    x = torch.randn(4000, 6)
    structure = sc.trace(grouped, x[:2])
    with torch.no_grad():
        grouped.up[:, :, 3] = grouped.up[torch.arange(5), :, torch.tensor([0, 5, 7, 8, 11])] * 2
    plan = keep(structure, up=(0, 1, 2, 4, 5, 6, 7, 8))  # widths are multiples of 4
    with torch.no_grad():
        grouped.down[:, 9:] = 0
        expected = grouped(x)
        small = sc.apply(grouped, plan, x, structure)
        before = small(x)
        report = sc.compensate(small, grouped, plan, [x], structure)
        assert (before - expected).abs().max() > 0.1
        error = (small(x) - expected).abs()
    chosen = grouped.router(grouped.inlet(x)).topk(2).indices
    assert error[(chosen != 4).all(1)].max() < 1e-3  # the last expert has lost the one that predicts it
    before, after = report.errors["down"]
    assert after < before / 2


def test_an_expert_that_sees_nothing_is_left_as_it_is(grouped):
    with torch.no_grad():
        grouped.router.bias[1] = -1e4
    x = torch.randn(50, 6)
    structure = sc.trace(grouped, x[:2])
    result = sc.prune(grouped, [x], criterion="obs", budget="keep:0.5", kinds=["neuron"], keep=["inlet"], scope="local")
    kept = list(result.plan.keep["up"])
    assert torch.equal(result.model.down[1], grouped.down[1, kept][:, list(result.plan.keep.get("down", range(8)))])
    assert not torch.equal(result.model.down[0], grouped.down[0, kept][:, list(result.plan.keep.get("down", range(8)))])
    scores = sc.score_many(grouped, [x], ["wanda", "flap"], structure)
    assert all(its["up"].isfinite().all() and its["up"].std() > 0 for its in scores.values())
    assert not sc.mask(grouped, [x], "wanda", "keep:0.5", structure=structure).masks["down"][1].all()


def test_widths_are_such_as_grouped_products_take(grouped):
    structure = sc.trace(grouped, torch.randn(2, 6))
    assert structure.group("up").multiple == 4  # 16 bytes
    assert structure.group("router").multiple == 1
    scores = {"up": torch.arange(12.0)}
    widths = {sc.allocate(structure, scores, f"keep:{share}").widths["up"] for share in (0.4, 0.5, 0.6, 0.7, 0.8, 1.0)}
    assert widths == {4, 8, 12}
    with pytest.warns(PutBackWarning):
        sc.apply(grouped, keep(structure, up=(0, 1, 2, 3, 4)), torch.randn(2, 6), structure)


def test_entries_of_experts_compete_within_an_output_of_an_expert(grouped):
    x = torch.randn(60, 6)
    masked = sc.mask(grouped, [x], "wanda", "keep:0.5")
    down = grouped.down.detach()
    sizes = torch.stack([its.square().mean(0).sqrt() for its in rows_of(grouped, x)])
    scores = down.abs() * sizes[:, :, None]
    expected = scores.sort(dim=1, descending=True, stable=True).indices.argsort(dim=1) < 6
    assert torch.equal(masked.masks["down"], expected)
