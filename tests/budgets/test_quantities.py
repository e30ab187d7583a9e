"""A quantity is one function: a registered one works wherever a budget is given."""

import pytest
from support.plans import random_scores
from torch import nn

import secateurs as sc
from secateurs.budgets import QUANTITIES, Budget, Scope, temporary_quantities
from secateurs.errors import BudgetError, InfeasibleBudgetError


@pytest.fixture
def registered():
    """Two quantities from outside the package: bytes of all parameters, and units of the widest group."""
    with temporary_quantities():

        @sc.quantity("bytes", unit="bytes")
        def parameter_bytes(structure, widths):
            """Bytes of all parameters in float32."""
            return 4 * structure.cost(widths).params

        @sc.quantity("widest", unit="units")
        def widest(structure, widths):
            """Units of the widest group."""
            return max(widths.values())

        yield


def bytes_of(model):
    return sum(parameter.nbytes for parameter in model.parameters())


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.81])
def test_a_registered_quantity_is_kept_within_the_budget(registered, net, images, scope, fraction):
    structure = sc.trace(net, images)
    plan = sc.allocate(structure, random_scores(structure), f"bytes:{fraction}", scope=scope)
    assert plan.budget == f"bytes:{fraction}"
    assert bytes_of(sc.apply(net, plan, images, structure)) <= fraction * bytes_of(net)
    for name, width in plan.widths.items():
        if width < structure.groups[name].size:
            assert 4 * structure.cost({**plan.widths, name: width + 1}).params > fraction * bytes_of(net)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_quantity_without_an_incremental_counter_gives_the_plan_of_one_that_has_it(registered, net, images, scope):
    structure = sc.trace(net, images)
    scores = random_scores(structure)
    plans = [sc.allocate(structure, scores, f"{name}:0.4", scope=scope) for name in ("bytes", "params")]
    assert plans[0].keep == plans[1].keep


def test_a_quantity_that_is_no_sum_over_groups_is_kept_within_the_budget(registered, net, images):
    structure = sc.trace(net, images)
    plan = sc.allocate(structure, random_scores(structure), "widest:0.5")
    assert max(plan.widths.values()) == max(group.size for group in structure.groups.values()) // 2


@pytest.mark.parametrize("schedule", [sc.Schedule(), sc.Schedule(2)])
def test_prune_takes_a_registered_quantity(registered, net, batches, schedule):
    result = sc.prune(net, batches, criterion="l2", budget="bytes:0.5", schedule=schedule)
    assert bytes_of(result.model) <= 0.5 * bytes_of(net)
    assert result.plan.budget == "bytes:0.5"


def test_an_infeasible_budget_names_the_amount_and_the_unit(registered, net, images):
    structure = sc.trace(net, images)
    with pytest.raises(InfeasibleBudgetError, match=r'lowest feasible budget is "bytes:0\.\d+" \([\d,]+ bytes\)'):
        sc.allocate(structure, random_scores(structure), "bytes:0.01", sc.Limits(floor=0.5))


@pytest.mark.parametrize("name", ["keep", "macs", "params"])
def test_savings_are_those_of_one_unit(name, images):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.Flatten(), nn.Linear(48, 4))
    structure = sc.trace(model, images)
    quantity, whole = QUANTITIES[name], {n: group.size for n, group in structure.groups.items()}
    savings = quantity.savings(structure, whole)
    assert savings == {
        n: quantity.amount(structure, whole) - quantity.amount(structure, {**whole, n: size - 1})
        for n, size in whole.items()
    }
    counter, narrower = quantity.counter(structure, whole), {n: size - 2 for n, size in whole.items()}
    assert counter.at(narrower) == quantity.amount(structure, narrower)
    counter.set(narrower)
    assert counter.at({}) == quantity.amount(structure, narrower)


def test_registrations_are_undone_at_the_end_of_the_block():
    before = dict(QUANTITIES)
    with temporary_quantities():

        @sc.quantity("nothing", unit="none")
        def nothing(structure, widths):
            """Nothing."""
            return 0

        assert Budget.parse("nothing:0.5") == Budget("nothing", 0.5)
    assert before == QUANTITIES
    with pytest.raises(BudgetError, match='one of "keep:F", "macs:F", "params:F" with'):
        Budget.parse("nothing:0.5")


@pytest.mark.parametrize("name", ["macs", "effective", "", "a:b"])
def test_a_name_that_is_taken_or_no_name_is_refused(name):
    with pytest.raises(BudgetError, match=f"the name {name!r} of a quantity"):
        sc.quantity(name, unit="units")


def test_a_quantity_needs_a_docstring():
    with pytest.raises(BudgetError, match="quantity 'silent' needs a docstring"):
        sc.quantity("silent", unit="units")(lambda structure, widths: 0)
    assert "silent" not in QUANTITIES
