"""Uniform widths: the groups of a role get one width, budgets are met, and every group keeps its own best units."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import random_plan, random_scores
from torch import nn

import secateurs as sc
from secateurs.budgets.effective import effective_count
from secateurs.errors import BudgetError, InfeasibleBudgetError
from secateurs.pruning.step import prune_step

WIDE = ("0.into", "2.into", "4.into")
NARROW = ("1.into", "3.into")


class ResidualMLP(nn.Module):
    """x + out(relu(into(x)))."""

    def __init__(self, width):
        super().__init__()
        self.into, self.out = nn.Linear(6, width), nn.Linear(width, 6)

    def forward(self, x):
        return x + self.out(self.into(x).relu())


@pytest.fixture(scope="module")
def structure():
    """Three groups of 12 units and two of 9."""
    return sc.trace(nn.Sequential(*map(ResidualMLP, (12, 9, 12, 9, 12))), torch.randn(2, 6))


def scores_of(structure, seed=0):
    return {name: scores.double() for name, scores in random_scores(structure, seed).items()}


def measure(structure, quantity, widths):
    if quantity == "keep":
        return sum({**{n: g.size for n, g in structure.groups.items()}, **widths}.values())
    return getattr(structure.cost(widths), quantity)


UNIFORM = st.builds(
    sc.Limits, floor=st.sampled_from([1, 3, 0.25]), cap=st.sampled_from([1.0, 0.9, 8]),
    multiple=st.sampled_from([1, 2, 4]), uniform=st.just(True),
)  # fmt: skip
QUANTITY, SCOPE = st.sampled_from(["macs", "params", "keep"]), st.sampled_from(["global", "local"])


@settings(max_examples=80, deadline=None)
@given(QUANTITY, st.floats(0.3, 1), SCOPE, st.integers(0, 99), UNIFORM)
def test_uniform_widths_meet_the_budget_within_one_step(structure, quantity, fraction, scope, seed, limits):
    scores = scores_of(structure, seed)
    try:
        plan = sc.allocate(structure, scores, f"{quantity}:{fraction}", limits, scope)
    except InfeasibleBudgetError:
        return
    target = fraction * measure(structure, quantity, {})
    assert measure(structure, quantity, plan.widths) <= target
    for role in (WIDE, NARROW):
        (width,) = {plan.widths[name] for name in role}
        units = structure.groups[role[0]].size
        low, high = limits.bounds(units)
        assert low <= width <= high
        wider = limits.width(width + 1, units)
        if width < wider <= high:
            assert measure(structure, quantity, {**plan.widths, **dict.fromkeys(role, wider)}) > target
    for name, kept in plan.keep.items():
        assert set(kept) == set(scores[name].argsort(descending=True)[: len(kept)].tolist())


@settings(max_examples=30, deadline=None)
@given(QUANTITY, st.floats(0.3, 0.9), st.floats(0.3, 0.9), SCOPE, st.integers(0, 99))
def test_a_smaller_budget_never_keeps_more(structure, quantity, one, other, scope, seed):
    less, more = sorted((one, other))
    widths = [
        sc.allocate(structure, scores_of(structure, seed), f"{quantity}:{f}", sc.Limits(uniform=True), scope).widths
        for f in (less, more)
    ]
    assert measure(structure, quantity, widths[0]) <= measure(structure, quantity, widths[1])


def test_roles_compete_by_mean_score(structure):
    """By single units the wide groups would lose first: the worst unit of all is in one of them."""
    scores = {name: torch.full((g.size,), 0.5) for name, g in structure.groups.items()}
    scores[WIDE[0]] = torch.full((12,), 0.1)
    scores[WIDE[1]] = torch.full((12,), 0.9)
    scores[WIDE[2]] = torch.full((12,), 0.8)
    plan = sc.allocate(structure, scores, "keep:0.8", sc.Limits(uniform=True))
    assert plan.widths == {**dict.fromkeys(WIDE, 12), **dict.fromkeys(NARROW, 3)}
    assert sc.allocate(structure, scores, "keep:0.8").widths[WIDE[0]] < 12


@pytest.mark.parametrize("uniform", [None, False])
def test_allocate_is_not_uniform_by_default(structure, uniform):
    plan = sc.allocate(structure, scores_of(structure), "keep:0.5", sc.Limits(uniform=uniform))
    assert len({plan.widths[name] for name in WIDE}) > 1


def test_the_effective_width_of_a_role_is_the_mean_over_its_groups(structure):
    scores = {name: s**3 for name, s in scores_of(structure).items()}
    plan = sc.allocate(structure, scores, "effective", sc.Limits(uniform=True), scope="local")
    for role in (WIDE, NARROW):
        counts = [effective_count(scores[name]) for name in role]
        assert {plan.widths[name] for name in role} == {round(sum(counts) / len(counts))}
        assert all(plan.certificates[name].kept == plan.widths[name] for name in role)
    together = sc.allocate(structure, scores, "effective", sc.Limits(uniform=True))
    count = effective_count(torch.cat(list(scores.values())))
    kept = sum(together.widths.values())
    assert count - 3 < kept <= count  # a step takes three units at most
    assert together.certificates["all groups"].kept == kept


def test_a_second_cut_makes_uneven_widths_uniform(structure):
    first = random_plan(structure, "keep:0.9")
    uneven = {**first.keep, WIDE[1]: first.keep[WIDE[1]][:5]}
    scores = {name: s[list(uneven[name])] for name, s in scores_of(structure).items()}
    plan = sc.allocate(structure, scores, "keep:0.8", sc.Limits(uniform=True), remaining=uneven)
    assert {plan.widths[name] for name in WIDE} == {5}
    assert all(set(kept) <= set(uneven[name]) for name, kept in plan.keep.items())


def test_a_role_with_an_unscored_group_stays_whole(structure):
    scores = scores_of(structure)
    del scores[WIDE[2]]
    plan = sc.allocate(structure, scores, "params:0.8", sc.Limits(uniform=True))
    assert set(plan.groups) == set(NARROW)
    assert "as wide as '4.into'" in plan.frozen[WIDE[0]]
    only = {name: s for name, s in scores.items() if name in WIDE}
    with pytest.raises(
        BudgetError, match=r"nothing to prune.*0.into: uniform widths: the group must be as wide as '4.into'"
    ):
        sc.allocate(structure, only, "params:0.8", sc.Limits(uniform=True))


def test_a_role_with_a_failed_group_stays_whole(structure):
    model = nn.Sequential(*map(ResidualMLP, (12, 9, 12, 9, 12)))
    step = prune_step(
        model, structure, scores_of(structure), "params:0.8", torch.randn(2, 6), dense=structure, earlier=None,
        put_back={WIDE[1]: "it failed"}, limits=sc.Limits(uniform=True),
    )  # fmt: skip
    assert [block.into.out_features for block in step.cut.model[::2]] == [12] * 3
    assert step.plan.frozen[WIDE[1]] == "it failed"
    assert f"as wide as {WIDE[1]!r}" in step.plan.frozen[WIDE[0]]
    assert step.plan.pruned.params <= 0.8 * step.plan.dense.params


def test_uniform_must_be_true_false_or_none():
    with pytest.raises(BudgetError, match="uniform=1 "):
        sc.Limits(uniform=1)  # type: ignore[arg-type]


class Generating(nn.Sequential):
    """A model that `prune` regards as a decoder of `transformers`."""

    def can_generate(self):
        return True


@pytest.mark.parametrize(("kind", "limits", "uniform"), [
    (Generating, None, True),
    (Generating, sc.Limits(floor=0.2), True),
    (Generating, sc.Limits(uniform=False), False),
    (nn.Sequential, None, False),
    (nn.Sequential, sc.Limits(uniform=True), True),
])  # fmt: skip
def test_prune_cuts_generating_models_uniformly_by_default(kind, limits, uniform):
    model = kind(*map(ResidualMLP, (12, 12, 12)))
    for number, block in enumerate(model):
        block.into.weight.data *= 1 + number
    result = sc.prune(model, [torch.randn(8, 6)], criterion="l1", budget="keep:0.5", limits=limits, scope="global")
    assert (len(set(result.plan.widths.values())) == 1) is uniform
