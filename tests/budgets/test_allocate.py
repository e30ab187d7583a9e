"""`allocate`: budgets are met within one unit, limits hold, and infeasible budgets are refused."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import FAMILIES, build
from support.plans import random_plan, random_scores

import secateurs as sc
from secateurs.budgets import Budget, Scope
from secateurs.errors import BudgetError, CriterionError, InfeasibleBudgetError, PlanError


@pytest.fixture(scope="module")
def structure():
    model, inputs = build("residual")
    return sc.trace(model, inputs)


QUANTITY = {
    "macs": lambda s, widths: s.cost(widths).macs,
    "params": lambda s, widths: s.cost(widths).params,
    "keep": lambda s, widths: sum({**{n: g.size for n, g in s.groups.items()}, **widths}.values()),
}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["macs", "params", "keep"]), st.floats(0.15, 1), st.sampled_from(list(Scope)),
       st.integers(0, 99))  # fmt: skip
def test_a_budget_is_met_within_one_unit(structure, quantity, fraction, scope, seed):
    plan = sc.allocate(structure, random_scores(structure, seed), f"{quantity}:{fraction}", scope=scope)
    measure = QUANTITY[quantity]
    target = fraction * measure(structure, {})
    assert measure(structure, plan.widths) <= target
    for name, width in plan.widths.items():
        if width < structure.groups[name].size:
            assert measure(structure, {**plan.widths, name: width + 1}) > target
    assert plan.pruned == structure.cost(plan.widths)
    assert plan.dense == structure.cost()


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"split with sizes", "hard-coded", "channel shuffle"}))
@pytest.mark.parametrize("quantity", ["macs", "params"])
def test_predicted_cost_equals_measured_cost(name, quantity):
    model, inputs = build(name)
    s = sc.trace(model, inputs)
    plan = random_plan(s, f"{quantity}:0.7")
    assert sc.cost(sc.apply(model, plan, inputs, s), inputs) == plan.pruned


@pytest.mark.parametrize("scope", list(Scope))
def test_each_group_keeps_its_best_units(structure, scope):
    scores = random_scores(structure)
    plan = sc.allocate(structure, scores, "keep:0.6", scope=scope)
    for name, kept in plan.keep.items():
        best = scores[name].argsort(descending=True)[: len(kept)]
        assert set(kept) == set(best.tolist())


def ascending_groups(structure):
    """Scores in which every unit of a later group is better than every unit of an earlier one."""
    return {name: torch.full((g.size,), float(rank)) for rank, (name, g) in enumerate(structure.groups.items())}


def test_global_scope_ranks_all_units_together(structure):
    plan = sc.allocate(structure, ascending_groups(structure), "keep:0.5")
    widths = list(plan.widths.values())
    assert widths[0] == 1  # the floor: no group is emptied
    assert widths[-1] == 12
    assert sum(widths) == 20


@pytest.mark.parametrize("quantity", ["macs", "params"])
def test_scope_per_cost_ranks_by_score_per_saving(structure, quantity):
    measure, rates = QUANTITY[quantity], random_scores(structure)
    saved = {n: measure(structure, {}) - measure(structure, {n: g.size - 1}) for n, g in structure.groups.items()}
    scores = {name: values.double() * saved[name] for name, values in rates.items()}
    per_cost = sc.allocate(structure, scores, f"{quantity}:0.5", scope="per-cost")
    assert len(set(saved.values())) > 1
    assert per_cost.keep == sc.allocate(structure, rates, f"{quantity}:0.5").keep
    assert per_cost.keep != sc.allocate(structure, scores, f"{quantity}:0.5").keep
    by_count = sc.allocate(structure, scores, "keep:0.5")
    assert sc.allocate(structure, scores, "keep:0.5", scope="per-cost").keep == by_count.keep


def test_the_effective_number_does_not_depend_on_the_scope(structure):
    scores = {name: values.double() ** 3 for name, values in random_scores(structure).items()}
    plan = sc.allocate(structure, scores, "effective")
    assert plan.keep != {name: tuple(range(group.size)) for name, group in structure.groups.items()}
    for scope in ("per-cost", "relative"):
        values = sc.allocate(structure, scores, "effective", scope=scope)
        assert (values.keep, values.certificates) == (plan.keep, plan.certificates)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 999))
def test_scope_relative_ranks_by_score_over_the_mean_of_the_remaining_units(structure, count, seed):
    """One by one, the unit goes that is worst in relation to the mean of values group as it is then."""
    scores = {name: values.double() ** 3 for name, values in random_scores(structure, seed).items()}
    left = {name: sorted(values.tolist()) for name, values in scores.items()}
    count = min(count, sum(map(len, left.values())) - len(left))
    for _ in range(count):
        shares = {name: values[0] / (sum(values) / len(values)) for name, values in left.items() if len(values) > 1}
        left[min(shares, key=shares.__getitem__)].pop(0)
    budget = f"keep:{sum(map(len, left.values())) / sum(map(len, scores.values()))}"
    plan = sc.allocate(structure, scores, budget, scope="relative")
    assert {name: len(values) for name, values in left.items()} == plan.widths
    factors = torch.rand(len(scores), dtype=torch.float64) + 0.1
    scaled = {name: values * factor for (name, values), factor in zip(scores.items(), factors, strict=True)}
    assert sc.allocate(structure, scaled, budget, scope="relative").keep == plan.keep


def test_scope_relative_removes_a_group_of_zeros_first(structure):
    scores = random_scores(structure)
    name = next(iter(scores))
    plan = sc.allocate(structure, {**scores, name: torch.zeros_like(scores[name])}, "keep:0.8", scope="relative")
    assert plan.widths[name] == 1


def test_negative_scores_are_refused_by_scopes_per_cost_and_relative(structure):
    scores = random_scores(structure)
    name = next(iter(scores))
    for scope, budget in itertools.product(("per-cost", "relative"), ("macs:0.5", "effective")):
        with pytest.raises(CriterionError, match=f"group '{name}': a score is -0.5, but scope '{scope}'"):
            sc.allocate(structure, {**scores, name: torch.full_like(scores[name], -0.5)}, budget, scope=scope)


def test_local_scope_keeps_the_same_share_of_each_group(structure):
    plan = sc.allocate(structure, ascending_groups(structure), "keep:0.5", scope="local")
    assert all(abs(len(g.keep) / g.units - 0.5) <= 0.5 / g.units + 1e-9 for g in plan.groups.values())


def test_equal_scores_keep_the_lower_index(structure):
    scores = {name: torch.zeros(group.size) for name, group in structure.groups.items()}
    for kept in sc.allocate(structure, scores, "keep:0.5", scope="local").keep.values():
        assert list(kept) == list(range(len(kept)))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([1, 3, 0.25, 0.5]), st.sampled_from([1.0, 0.9, 7]), st.sampled_from([1, 2, 4]),
       st.floats(0.5, 1), st.integers(0, 99))  # fmt: skip
def test_widths_are_within_the_limits(structure, floor, cap, multiple, fraction, seed):
    limits = sc.Limits(floor=floor, cap=cap, multiple=multiple)
    try:
        plan = sc.allocate(structure, random_scores(structure, seed), f"macs:{fraction}", limits)
    except InfeasibleBudgetError:
        return
    for name, width in plan.widths.items():
        units = structure.groups[name].size
        assert width >= (floor if isinstance(floor, int) else floor * units)
        assert width <= (cap if isinstance(cap, int) else cap * units)
        assert width % multiple == 0 or width == units


def test_a_cap_shrinks_every_group(structure):
    plan = sc.allocate(structure, random_scores(structure), "keep:1", sc.Limits(cap=0.75))
    assert plan.widths == {name: int(0.75 * group.size) for name, group in structure.groups.items()}


def test_an_infeasible_budget_names_the_closest_feasible_one(structure):
    limits = sc.Limits(floor=0.5)
    with pytest.raises(InfeasibleBudgetError, match=r'"macs:0\.\d+"') as caught:
        sc.allocate(structure, random_scores(structure), "macs:0.05", limits)
    closest = str(caught.value).split('"')[1]
    assert sc.allocate(structure, random_scores(structure), closest, limits).widths == {
        name: group.size // 2 for name, group in structure.groups.items()
    }
    with pytest.raises(InfeasibleBudgetError, match="group '0': no width of a group of 8"):
        sc.allocate(structure, random_scores(structure), "macs:0.5", sc.Limits(floor=6, cap=0.5))


@pytest.mark.parametrize(
    "budget", [*"mac:0.5 macs macs: macs:half macs:0 macs:1.5 macs:-1 macs:nan 0.5 keep:50%".split(), "", None]
)
def test_malformed_budgets_are_refused(structure, budget):
    with pytest.raises(BudgetError, match="invalid budget"):
        sc.allocate(structure, random_scores(structure), budget)


@pytest.mark.parametrize("limits", [{"floor": 0}, {"floor": 0.0}, {"cap": 1.5}, {"multiple": 0}, {"multiple": 2.0},
                                    {"floor": "1"}, {"floor": -0.1}, {"cap": True}])  # fmt: skip
def test_limits_out_of_range_are_refused(limits):
    with pytest.raises(BudgetError, match=next(iter(limits))):
        sc.Limits(**limits)


def test_scores_that_do_not_fit_the_structure_are_refused(structure):
    good = random_scores(structure)
    name = next(iter(good))
    with pytest.raises(CriterionError, match=rf"group '{name}'.*units \[2\].*not finite"):
        sc.allocate(structure, {**good, name: good[name].index_fill(0, torch.tensor([2]), float("nan"))}, "keep:0.5")
    with pytest.raises(CriterionError, match="8 units but scores of shape"):
        sc.allocate(structure, {**good, name: torch.zeros(3)}, "keep:0.5")
    with pytest.raises(PlanError, match="'nowhere' does not exist"):
        sc.allocate(structure, {"nowhere": torch.zeros(3)}, "keep:0.5")
    with pytest.raises(PlanError, match="'5' is frozen \\(model output\\)"):
        sc.allocate(structure, {"5": torch.zeros(5)}, "keep:0.5")
    with pytest.raises(BudgetError, match="nothing to prune"):
        sc.allocate(structure, {}, "keep:0.5")
    with pytest.raises(BudgetError, match="scope 'everywhere'"):
        sc.allocate(structure, good, "keep:0.5", scope="everywhere")


def test_groups_without_scores_stay_whole(structure):
    scores = random_scores(structure)
    name, values = scores.popitem()
    plan = sc.allocate(structure, scores, "keep:0.5")
    assert name not in plan.groups
    assert len(values) == structure.groups[name].size


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["macs", "params", "keep"]), st.sampled_from(list(Scope)), st.integers(0, 99),
       st.floats(0.5, 0.9), st.floats(0.2, 0.5), st.integers(1, 3))  # fmt: skip
def test_a_second_allocation_removes_more_and_refers_to_the_dense_model(
    structure, quantity, scope, seed, f1, f2, multiple
):
    limits = sc.Limits(floor=0.15, multiple=multiple)
    try:
        first = sc.allocate(structure, random_scores(structure, seed), f"{quantity}:{f1}", limits, scope)
        scores = {name: values[list(first.keep[name])] for name, values in random_scores(structure, seed + 1).items()}
        last = list(scores)[-1]
        unscored = {name: values for name, values in scores.items() if name != last}
        second = sc.allocate(structure, unscored, f"{quantity}:{f2}", limits, scope, remaining=first.keep)
    except InfeasibleBudgetError:
        return
    assert second.keep[last] == first.keep[last]
    assert second.dense == structure.cost()
    measure = QUANTITY[quantity]
    target = f2 * measure(structure, {})
    assert measure(structure, second.widths) <= target
    for name, kept in second.keep.items():
        assert set(kept) <= set(first.keep[name])
        units = structure.groups[name].size
        wider = limits.width(len(kept) + 1, units)
        if name != last and len(kept) < wider <= len(first.keep[name]):
            assert measure(structure, {**second.widths, name: wider}) > target
        removed = [s for u, s in zip(first.keep[name], scores[name].tolist(), strict=True) if u not in kept]
        stayed = [s for u, s in zip(first.keep[name], scores[name].tolist(), strict=True) if u in kept]
        assert name == last or not removed or max(removed) <= min(stayed)
    relative = second.since(first)
    assert relative.dense == first.pruned
    for name, group in relative.groups.items():
        assert [first.keep[name][i] for i in group.keep] == list(second.keep[name])
        assert group.units == len(first.keep[name])
    assert all(name in relative.groups or second.keep[name] == first.keep[name] for name in second.keep)


def test_scopes_and_budgets_are_accepted_as_text_and_as_objects(structure):
    assert [Scope.parse(scope) for scope in ("global", "per-cost", "relative", "local")] == list(Scope)
    assert f"{Scope.PER_COST}" == "per-cost"
    assert all(scope.description for scope in Scope)
    with pytest.raises(BudgetError, match="unknown scope 'everywhere'; choose one of global, per-cost, relative"):
        Scope.parse("everywhere")
    budget = Budget.parse("macs:0.5")
    assert Budget.parse(budget) is budget
    scores = random_scores(structure)
    parsed = sc.allocate(structure, scores, budget, scope=Scope.LOCAL)
    assert parsed.model_dump_json() == sc.allocate(structure, scores, "macs:0.5", scope="local").model_dump_json()


@given(st.floats(1e-6, 1))
def test_a_budget_survives_a_round_trip_through_text(fraction):
    budget = Budget("macs", fraction)
    assert Budget.parse(str(budget)) == budget
    assert str(Budget.parse("effective")) == "effective"
