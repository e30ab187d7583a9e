"""Pruning during training, in a training loop of the user."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.gradual import PartlyHardCoded, train_steps
from support.masking import zero_removed_weights
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW

import secateurs as sc
from secateurs.budgets import Budget
from secateurs.budgets.ramp import Ramp
from secateurs.budgets.schedule import RAMPS
from secateurs.errors import BudgetError, CriterionError, DataError, InfeasibleBudgetError, UsageError

OPTIMIZERS = {
    "SGD": lambda p: SGD(p, lr=0.05, momentum=0.9),
    "AdamW": lambda p: AdamW(p, lr=0.01),
}


def kept_units(plan):
    return {name: set(units) for name, units in plan.keep.items()}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("criterion", ["l2", "ndi"])
@pytest.mark.filterwarnings("ignore::secateurs.errors.SecateursWarning")
def test_a_model_is_pruned_to_the_budget_during_training(net, batches, make, criterion):
    optimizer, dense = make(net.parameters()), sc.cost(net, batches[0][0][:1])
    modules, widths = list(net.modules()), []
    hook = net[3].register_forward_hook(lambda module, args, out: widths.append(out.shape[1]))
    pruner = sc.gradual(net, optimizer, batches, criterion=criterion, budget="macs:0.4", start=1, stop=9, every=3)
    assert (pruner.plan, pruner.finished) == (None, False)
    plans = train_steps(net, optimizer, batches, range(9), pruner)
    assert [number for number, plan in enumerate(plans, 1) if plan] == [4, 7, 9]
    shares = [0.4 + 0.6 * (1 - done) ** 3 for done in (3 / 8, 6 / 8, 1)]
    cuts = [plan for plan in plans if plan]
    assert [cut.step for cut in pruner.history] == [4, 7, 9]
    assert [cut.plan for cut in pruner.history] == cuts
    assert all(plan.pruned.macs <= share * dense.macs for plan, share in zip(cuts, shares, strict=True))
    for earlier, later in pairwise(cuts):
        assert all(kept_units(later)[name] <= units for name, units in kept_units(earlier).items())
    assert pruner.finished
    assert pruner.plan.budget == "macs:0.4"
    assert sc.cost(net, batches[0][0][:1]) == pruner.plan.pruned
    assert pruner.plan.dense == dense
    assert list(net.modules()) == modules
    assert [type(module) for module in net] == [type(module) for module in modules[1:]]
    sc.check_optimizer(optimizer, net)
    for p in net.parameters():
        assert p.grad is None
        state = [tensor for tensor in optimizer.state[p].values() if torch.is_tensor(tensor) and tensor.ndim]
        assert state
        assert all(tensor.shape == p.shape for tensor in state)
    assert train_steps(net, optimizer, batches, range(9, 12), pruner) == [None] * 3
    assert widths[-1] == pruner.plan.widths["3"] < 12
    hook.remove()
    assert not net[3]._forward_hooks


def test_each_cut_computes_the_same_as_the_masked_model(net, batches):
    net, batches = net.double(), [(x.double(), y) for x, y in batches]
    optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
    pruner = sc.gradual(net, optimizer, batches, criterion="l1", budget="params:0.3", stop=4, every=1, ramp="linear")
    x = batches[0][0]
    for number in range(4):
        train_steps(net, optimizer, batches, [number])
        before = copy.deepcopy(net).eval()
        assert pruner.step()
        masked = zero_removed_weights(before, net)
        assert any(not torch.equal(p, q) for p, q in zip(masked.parameters(), before.parameters(), strict=True))
        with torch.no_grad():
            torch.testing.assert_close(copy.deepcopy(net).eval()(x), masked(x), rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore::secateurs.errors.SecateursWarning")
def test_cuts_that_remove_nothing_do_not_change_training(net, batches):
    net = nn.Sequential(*net[:9], nn.Dropout(0.5), net[9]).train()
    loader = torch.utils.data.DataLoader(
        [(x, int(y)) for xs, ys in batches for x, y in zip(xs, ys, strict=True)], 6, True
    )
    twin = copy.deepcopy(net)
    states = []
    for model in (twin, net):
        optimizer = AdamW(model.parameters())
        torch.manual_seed(3)
        pruner = (
            sc.gradual(net, optimizer, loader, criterion="ndi", budget="keep:1", stop=6, every=2)
            if model is net
            else None
        )
        plans = train_steps(model, optimizer, batches, range(8), pruner)
        moments = [tensor for state in optimizer.state.values() for tensor in state.values()]
        states.append([*model.state_dict().values(), *moments, torch.get_rng_state()])
    assert [plan is not None for plan in plans] == [False, True] * 3 + [False] * 2
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    assert all(module.training for module in net.modules())


def test_groups_that_fail_verification_are_restored_and_the_others_meet_the_budget():
    model = PartlyHardCoded()
    batches = [(torch.randn(8, 6), torch.randint(4, (8,)))]
    optimizer = SGD(model.parameters(), lr=0.1)
    pruner = sc.gradual(model, optimizer, batches, criterion="l1", budget="macs:0.7", stop=2, every=1, scope="local")
    first, last = train_steps(model, optimizer, batches, range(2), pruner)
    assert list(pruner.put_back) == ["first"]
    assert last.frozen["first"] == pruner.put_back["first"]
    assert len(model.first.weight) == 12
    assert first.pruned.macs > last.pruned.macs == sc.cost(model, batches[0][0][:1]).macs
    assert last.pruned.macs <= 0.7 * last.dense.macs
    twin = PartlyHardCoded()
    other = sc.gradual(
        twin, SGD(twin.parameters(), lr=0.1), batches, criterion="l1", budget="macs:0.7", stop=2, every=1, scope="local"
    )
    other.load_state_dict(pruner.state_dict())
    assert other.put_back == pruner.put_back


def test_invalid_arguments_are_refused_at_once(net, batches):
    optimizer = SGD(net.parameters(), lr=0.1)

    def begin(optimizer=optimizer, criterion="l1", budget="macs:0.5", **options):
        return sc.gradual(net, optimizer, batches, criterion=criterion, budget=budget, **{"stop": 4, **options})

    for wrong in ({"start": 4}, {"start": 5}, {"start": -1}, {"every": 0}, {"every": 1.5}, {"stop": True}):
        with pytest.raises(UsageError, match=r"0 ≤ start < stop and every ≥ 1, not start="):
            begin(**wrong)
    with pytest.raises(UsageError, match="unknown ramp 'steep'; choose one of linear, cubic, geometric"):
        begin(ramp="steep")
    with pytest.raises(BudgetError, match="cannot be used for several"):
        begin(budget="effective:0.9")
    with pytest.raises(InfeasibleBudgetError, match="cannot be reached"):
        begin(limits=sc.Limits(floor=0.9))
    with pytest.raises(CriterionError, match="leave `loss` out"):
        begin(loss=F.cross_entropy)
    with pytest.raises(DataError, match="no targets"):
        sc.gradual(net, optimizer, [batches[0][0]], criterion="taylor", stop=4)
    with pytest.raises(UsageError, match="2 of the 2 parameters of the optimiser do not belong"):
        begin(SGD(nn.Linear(2, 2).parameters(), lr=0.1))


def test_a_failed_step_changes_nothing_and_is_not_counted(net, batches):
    optimizer = SGD(net.parameters(), lr=0.1)
    pruner = sc.gradual(net, optimizer, batches, criterion="taylor", stop=1)
    weight = net[0].weight
    with torch.no_grad():
        weight[0, 0, 0, 0] = math.nan
    with pytest.raises(sc.SecateursError, match="not finite"):
        pruner.step()
    assert net[0].weight is weight
    assert pruner.steps == 0
    with torch.no_grad():
        weight[0, 0, 0, 0] = 0
    optimizer.param_groups[0]["params"][0] = nn.Parameter(weight.detach().clone())
    with pytest.raises(UsageError, match="1 of the 10 parameters"):
        pruner.step()
    optimizer.param_groups[0]["params"][0] = weight
    assert pruner.step()


@given(st.sampled_from(sorted(RAMPS)), st.floats(0.01, 1), st.integers(0, 50), st.integers(1, 60), st.integers(1, 70))
def test_a_ramp_decreases_to_the_budget(shape, share, start, length, every):
    ramp = Ramp(Budget("macs", share), start, start + length, every, shape)
    steps = [step for step in range(start + length + every + 2) if ramp.due(step)]
    assert steps == sorted({*range(start + every, start + length, every), start + length})
    fractions = [ramp.at(step).fraction for step in steps]
    assert fractions[-1] == share
    assert all(1 >= a >= b - 1e-12 for a, b in pairwise([1.0, *fractions]))
