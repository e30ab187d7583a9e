"""Recalibration of batch norm statistics on data."""

import pytest
import torch
from support.states import copy_state
from torch import nn

import secateurs as sc
from secateurs.errors import DataError, ModelError


def test_recalibration_is_the_average_over_batches(net, batches):
    net.train()
    sc.recalibrate(net, batches)
    with torch.no_grad():
        maps = [net[0](x).transpose(0, 1).flatten(1) for x, _ in batches]
    torch.testing.assert_close(net[1].running_mean, torch.stack([m.mean(1) for m in maps]).mean(0))
    torch.testing.assert_close(net[1].running_var, torch.stack([m.var(1) for m in maps]).mean(0))
    assert net[1].momentum == 0.1
    assert all(module.training for module in net.modules())


def test_recalibration_changes_nothing_else(net, batches):
    net.eval()
    model = nn.Sequential(net, nn.Dropout(0.5))
    before = copy_state(model)
    state = torch.get_rng_state()
    sc.recalibrate(model, batches)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"0.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("data", [[], [torch.randn(4, 3, 6, 6), torch.randn(4, 5, 6, 6)]])
def test_statistics_are_restored_after_invalid_data(net, data):
    with torch.no_grad():
        net[1].running_mean.fill_(3)
    with pytest.raises(DataError):
        sc.recalibrate(net, data)
    assert net[1].running_mean.tolist() == [3] * 8


def test_a_model_without_batch_norm_is_refused():
    with pytest.raises(ModelError, match="nothing to recalibrate"):
        sc.recalibrate(nn.Linear(2, 2), [torch.randn(3, 2)])


def test_layers_outside_the_forward_pass_keep_their_statistics(net, batches):
    net.aux = nn.BatchNorm2d(3)
    model = nn.ModuleDict({"used": net[:10], "aux": net.aux})
    model.forward = lambda x: model["used"](x)
    with torch.no_grad():
        net.aux.running_mean.fill_(3)
    sc.recalibrate(model, batches)
    assert net.aux.running_mean.tolist() == [3] * 3
    assert net[1].num_batches_tracked == 3


def test_statistics_that_are_not_finite_are_refused(net, batches):
    before = net[1].running_mean.clone()
    with pytest.raises(DataError, match="not finite"):
        sc.recalibrate(net, [batches[0][0] * float("nan")])
    assert torch.equal(net[1].running_mean, before)
