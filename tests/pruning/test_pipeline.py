"""`sc.prune`: results, reproducibility, forms of data, and refused arguments."""

import warnings

import pytest
import torch
from support.models import build
from support.plans import random_plan
from support.states import copy_state, equal_states
from torch import nn

import secateurs as sc
from secateurs.errors import BudgetError, DataError, InfeasibleBudgetError, NoMatchError


@pytest.mark.parametrize("criterion", ["nexp", "l1", "l2", "random"])
def test_the_pruned_model_meets_the_budget_and_the_dense_model_is_unchanged(net, batches, criterion):
    before = copy_state(net)
    state = torch.get_rng_state()
    result = sc.prune(net, batches, criterion=criterion, budget="macs:0.5")
    one = batches[0][0][:1]
    assert result.dense_cost == sc.cost(net, one)
    assert result.cost == sc.cost(result.model, one) == result.plan.pruned
    assert 0.4 < result.cost.macs / result.dense_cost.macs <= 0.5
    assert set(result.scores) == set(result.structure.groups)
    assert equal_states(net, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert result.model.training
    assert result.model is not net
    assert criterion in str(result)


def test_prune_equals_the_steps_one_by_one(net, batches):
    result = sc.prune(net, batches, criterion="nexp", budget="params:0.6", seed=3)
    one = batches[0][0][:1]
    s = sc.trace(net, one)
    scores = sc.score(net, batches, "nexp", s)
    plan = sc.allocate(s, scores, "params:0.6")
    small = sc.apply(net, plan, one)
    sc.compensate(small, net, plan, batches, s)
    assert plan == result.plan
    assert equal_states(small, result.model)


def test_the_same_seed_gives_the_same_model(net, batches):
    plans = [sc.prune(net, batches, criterion="random", seed=seed).plan.keep for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]


def test_a_shuffling_loader_gives_the_same_plan_each_time(net, batches):
    dataset = torch.utils.data.TensorDataset(*(torch.cat(part) for part in zip(*batches, strict=True)))
    loader = torch.utils.data.DataLoader(dataset, 8, shuffle=True)
    assert sc.prune(net, loader, seed=1).plan == sc.prune(net, loader, seed=1).plan


def test_random_inputs_and_example_inputs_are_accepted(net, images):
    result = sc.prune(net, sc.random_inputs((3, 6, 6), 64), example_inputs=images, keep=("0", "7"))
    assert list(result.plan.groups) == ["3"]
    assert result.dense_cost == sc.cost(net, images)


def test_limits_and_scope_are_passed_on(net, batches):
    result = sc.prune(net, batches, criterion="l1", budget="keep:0.5", scope="local", limits=sc.Limits(floor=0.5))
    assert result.plan.widths == {"0": 4, "3": 6, "7": 8}
    assert result.plan.scope == "local"


def test_groups_that_fail_verification_are_kept_and_the_others_meet_the_budget():
    model, (x,) = build("hard-coded")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sc.prune(model, [x], criterion="l1", budget="params:0.8")
    assert result.model.first.out_features == 12
    assert result.cost.params <= 0.8 * result.dense_cost.params
    assert "first" not in result.structure.groups
    assert "RuntimeError" in result.structure.frozen["first"] or "shape" in result.structure.frozen["first"]
    with pytest.raises(InfeasibleBudgetError):
        sc.prune(model, [x], criterion="l1", budget="params:0.3")


def test_inexact_groups_are_reported():
    model, (x,) = build("layer norm")
    result = sc.prune(model, [x], criterion="l1", budget="keep:0.5")
    assert list(result.inexact) == ["0"]
    assert "layer norm" in result.inexact["0"]


def test_several_inputs_are_given_as_a_tuple_with_targets():
    class TwoInputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x, y):
            return self.c((self.a(x) + self.b(y)).relu())

    data = [((torch.randn(8, 4), torch.randn(8, 3)), torch.zeros(8).long())]
    assert sc.prune(TwoInputs(), data, criterion="nexp", budget="keep:0.5").model.c.in_features == 3


def test_batches_of_keyword_arguments_are_accepted():
    class KeywordInputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x=None, mask=None):
            return {"out": self.b(self.a(x).relu()) * mask}

    data = [{"x": torch.randn(8, 4), "mask": torch.ones(8, 1)} for _ in range(2)]
    assert sc.prune(KeywordInputs(), data, criterion="nexp", budget="keep:0.5").model.b.in_features == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"budget": "mac:0.5"}, BudgetError),
        ({"budget": "macs:0.0001"}, InfeasibleBudgetError),
        ({"keep": ("nothing",)}, NoMatchError),
        ({"criterion": "nexpp"}, sc.errors.CriterionError),
        ({"data": []}, DataError),
        ({"data": iter([torch.randn(2, 3, 6, 6)])}, DataError),
        ({"data": None}, DataError),
        ({"model": None}, sc.errors.ModelError),
    ],
)
def test_invalid_arguments_raise_errors_of_the_library(net, batches, arguments, error):
    with pytest.raises(error):
        sc.prune(**{"model": net, "data": batches, **arguments})


def test_cost_counts_shared_parameters_once_and_refuses_wrong_inputs():
    model, inputs = build("shared")
    assert sc.cost(model, inputs).params == sum(p.numel() for p in model.parameters())
    assert sc.cost(nn.Linear(3, 5), torch.randn(7, 3)) == sc.Cost(params=20, macs=105)
    with pytest.raises(sc.errors.TraceError, match=r"float32\[7, 4\]"):
        sc.cost(nn.Linear(3, 5), torch.randn(7, 4))


def test_the_number_of_operators_grows_linearly_with_depth():
    """The number of operators is counted, since times are noisy."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        operators = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            Count.operators += 1
            return func(*args, **(kwargs or {}))

    def operators(depth):
        model = nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(depth)])
        x = torch.randn(2, 8)
        Count.operators = 0
        with Count():
            structure = sc.trace(model, x)
            sc.apply(model, random_plan(structure), x, structure)
        return Count.operators

    assert operators(80) < 10 * operators(10)
