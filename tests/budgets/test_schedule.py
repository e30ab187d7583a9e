"""Schedules: the budget of each round."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import secateurs as sc
from secateurs.budgets import Budget
from secateurs.budgets.schedule import RAMPS, kept
from secateurs.errors import BudgetError, UsageError


@given(st.sampled_from(sorted(RAMPS)), st.floats(0.01, 1), st.integers(1, 12))
def test_every_round_keeps_less_and_the_last_is_the_budget(ramp, share, rounds):
    budgets = sc.Schedule(rounds, ramp).budgets(f"macs:{share!r}")
    assert len(budgets) == rounds
    assert budgets[-1] == Budget("macs", share)
    shares = [1.0, *(budget.fraction for budget in budgets)]
    assert all(before >= after - 1e-12 for before, after in pairwise(shares))


def test_ramps_at_hand_computed_points():
    assert kept("linear", 0.5, 0.5) == 0.75
    assert kept("cubic", 0.2, 0.5) == pytest.approx(0.2 + 0.8 / 8)
    assert kept("geometric", 0.25, 0.5) == 0.5
    shares = [budget.fraction for budget in sc.Schedule(4).budgets("params:0.2")]
    assert shares == pytest.approx([0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize("arguments", [{"rounds": 0}, {"rounds": 1.5}, {"rounds": True}, {"ramp": "steep"}])
def test_invalid_schedules_are_refused(arguments):
    with pytest.raises(UsageError):
        sc.Schedule(**arguments)


def test_an_effective_budget_needs_one_round():
    assert sc.Schedule().budgets("effective") == [Budget("effective", 1.0)]
    with pytest.raises(BudgetError, match="one round"):
        sc.Schedule(2).budgets("effective:0.5")


@pytest.mark.parametrize("rounds", [2, 5, 9])
def test_several_rounds_reach_the_widths_of_one_shot_in_small_groups(rounds):
    """In scope "local", where every layer keeps the same share."""
    sizes = (3, 40, 5)
    layers = [nn.Linear(4, sizes[0]), nn.ReLU(), nn.Linear(3, sizes[1]), nn.ReLU(), nn.Linear(40, sizes[2]), nn.ReLU()]
    model, data = nn.Sequential(*layers, nn.Linear(5, 2)), [torch.randn(8, 4)]
    how = {"scope": "local", "compensate": False}
    once = sc.prune(model, data, criterion="l1", budget="keep:0.5", **how)
    often = sc.prune(model, data, criterion="l1", budget="keep:0.5", **how, schedule=sc.Schedule(rounds))
    assert often.plan.widths == once.plan.widths
    assert often.plan.widths["0"] < 3
