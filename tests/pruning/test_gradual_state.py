"""The state of `sc.gradual`: interrupted training ends with the same weights, and foreign states are refused."""

import copy
import json

import pytest
import torch
from support.gradual import Flexible, PartlyHardCoded, train_steps
from support.states import equal_states
from torch import nn
from torch.optim import SGD, AdamW

import secateurs as sc
from secateurs.errors import PlanError, UsageError, VerificationError


def test_interrupted_training_ends_with_the_same_weights(net, batches):
    fresh = copy.deepcopy(net)
    nn.init.normal_(fresh[0].weight)

    def begin(model):
        optimizer = AdamW(model.parameters(), lr=0.01)
        return optimizer, sc.gradual(model, optimizer, batches, criterion="l1", budget="macs:0.5", stop=8, every=2)

    optimizer, pruner = begin(net)
    train_steps(net, optimizer, batches, range(5), pruner)
    text = json.dumps(pruner.state_dict())
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    train_steps(net, optimizer, batches, range(5, 10), pruner)
    again, other = begin(fresh)
    other.load_state_dict(json.loads(text))
    assert [cut.step for cut in other.history] == [2, 4]
    fresh.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    train_steps(fresh, again, batches, range(5, 10), other)
    assert other.history == pruner.history
    assert other.attributes == pruner.attributes
    assert equal_states(net, fresh)
    with pytest.raises(UsageError, match="this pruner has made 10"):
        other.load_state_dict(json.loads(text))


def test_a_state_before_the_first_cut_counts_its_steps(net, batches):
    def begin():
        optimizer = SGD(net.parameters(), lr=0.1)
        return optimizer, sc.gradual(net, optimizer, batches, criterion="l1", stop=3, every=3)

    optimizer, pruner = begin()
    train_steps(net, optimizer, batches, range(2), pruner)
    optimizer, other = begin()
    other.load_state_dict(pruner.state_dict())
    assert train_steps(net, optimizer, batches, [2], other) == [other.plan]
    for wrong in ({}, {"steps": 1}, {"steps": 1, "history": [{"step": 1, "plan": {}}]}, None):
        fresh = sc.gradual(net, optimizer, batches, criterion="l1", stop=3)
        with pytest.raises(UsageError, match="not the state of a GradualPruner"):
            fresh.load_state_dict(wrong)


def test_the_state_of_another_model_is_refused(net, batches):
    optimizer = SGD(net.parameters(), lr=0.1)
    pruner = sc.gradual(net, optimizer, batches, criterion="l1", stop=1)
    train_steps(net, optimizer, batches, [0], pruner)
    other = nn.Sequential(nn.Flatten(), nn.Linear(108, 8), nn.ReLU(), nn.Linear(8, 4))
    pruner_of_other = sc.gradual(other, SGD(other.parameters(), lr=0.1), batches, criterion="l1", stop=1)
    with pytest.raises(PlanError):
        pruner_of_other.load_state_dict(pruner.state_dict())
    assert pruner_of_other.steps == 0


def test_a_state_with_cuts_that_fail_verification_is_refused():
    batches = [(torch.randn(8, 6), torch.randint(4, (8,)))]
    soft, model = Flexible(), PartlyHardCoded()
    pruner, other = (
        sc.gradual(network, SGD(network.parameters(), lr=0.1), batches, criterion="l1", budget="macs:0.5", stop=1)
        for network in (soft, model)
    )
    pruner.step()
    assert pruner.plan.widths["first"] < 12
    with pytest.raises(VerificationError, match=r"cannot be cut in this model: \{'first'"):
        other.load_state_dict(pruner.state_dict())
    assert (other.steps, other.plan) == (0, None)
    assert model.first.weight.shape == (12, 6)


def test_the_pruned_model_is_saved_and_loaded(net, batches, tmp_path):
    optimizer = SGD(net.parameters(), lr=0.1)
    dense = copy.deepcopy(net)
    pruner = sc.gradual(net, optimizer, batches, criterion="l1", budget="macs:0.4", stop=4, every=2)
    with pytest.raises(PlanError, match="nothing was cut"):
        pruner.save(tmp_path / "small")
    train_steps(net, optimizer, batches, range(5), pruner)
    pruner.save(tmp_path / "small")
    again = sc.load(tmp_path / "small", lambda: dense)
    assert str(again) == str(net)
    assert equal_states(net, again)
