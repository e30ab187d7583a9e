"""Recalibration against the dense model."""

import copy

import pytest
import torch
from support.plans import random_plan
from support.states import copy_state, equal_states
from torch import nn

import secateurs as sc
from secateurs.errors import DataError, PlanError, UsageError
from secateurs.training.recalibrate import tracking_norms
from secateurs.utils.restore import evaluating


@pytest.fixture
def dense():
    """Batch norm layers with statistics, folded, without weights, used twice, and outside the forward pass."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 10, 3, padding=1), nn.BatchNorm2d(10)
            self.conv2, self.bn2 = nn.Conv2d(10, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8, affine=False)
            self.conv3, self.bn3 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.fc1, self.bn4, self.fc2 = nn.Linear(8, 12), nn.BatchNorm1d(12), nn.Linear(12, 4)
            self.fc3 = nn.Linear(8, 4)
            self.unused = nn.BatchNorm2d(5)

        def forward(self, x):
            x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
            y = self.bn3(self.conv3(self.bn3(x).relu())).relu().mean((2, 3))
            return self.fc2(self.bn4(self.fc1(x.mean((2, 3)))).relu()) + self.fc3(y)

    model = Net().eval()
    with torch.no_grad():
        for norm in (model.bn1, model.bn3, model.unused):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.1, 3)
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()
        for p in model.conv2.parameters():
            p *= 7  # outputs far from normalised, as after folding
    return model


def cut(dense, batches):
    structure = sc.trace(dense, batches[0][0][:2])
    plan = random_plan(structure)
    return sc.apply(dense, plan, batches[0][0][:2]), plan, structure


def norm_outputs(model, x):
    """Name and output of each call of a batch norm layer, in order."""
    outputs = []
    with evaluating(model):
        handles = [
            norm.register_forward_hook(lambda *call, name=name: outputs.append((name, call[2])))
            for name, norm in tracking_norms(model).items()
        ]
        model(x)
        for handle in handles:
            handle.remove()
    return outputs


def test_outputs_of_each_norm_have_the_statistics_of_the_dense_model(dense, batches):
    small, plan, structure = cut(dense, batches)
    masks = structure.keep_masks(plan.keep)
    x = batches[0][0]
    sc.recalibrate(small, [x], dense, plan)
    for (name, one), (same, other) in zip(norm_outputs(small, x), norm_outputs(dense, x), strict=True):
        assert name == same
        if name == "bn3":  # it runs twice and has the average statistics of both calls
            continue
        other = other[:, masks[f"{name}.running_mean"][0]]
        dims = [dim for dim in range(one.dim()) if dim != 1]
        torch.testing.assert_close(one.mean(dims), other.mean(dims), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.std(dims), other.std(dims), rtol=0.01, atol=1e-4)  # divided by n − 1


def test_statistics_equal_a_computation_by_hand(net, batches):
    """Computes the statistics of the first batch norm layer from the averages of the inputs over batches."""
    net.eval()
    with torch.no_grad():
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2)
    structure = sc.trace(net, batches[0][0][:2])
    plan = random_plan(structure)
    small = sc.apply(net, plan, batches[0][0][:2])
    with torch.no_grad():
        small[0].weight.mul_(3).add_(0.1)  # like compensation
    kept = structure.keep_masks(plan.keep)["1.running_mean"][0]
    sc.recalibrate(small, batches, net, plan, structure)
    with torch.no_grad():
        maps = [[model[0](x).transpose(0, 1).flatten(1) for x, _ in batches] for model in (net, small)]
    (mean, variance), (new_mean, new_variance) = (
        (torch.stack([m.mean(1) for m in group]).mean(0), torch.stack([m.var(1) for m in group]).mean(0))
        for group in maps
    )
    old_mean, old_deviation = net[1].running_mean[kept], (net[1].running_var[kept] + 1e-5).sqrt()
    factor = ((new_variance + 1e-5) / (variance[kept] + 1e-5)).sqrt()
    deviation = old_deviation * factor
    torch.testing.assert_close(small[1].running_var, deviation.square() - 1e-5)
    torch.testing.assert_close(small[1].running_mean, new_mean - (mean[kept] - old_mean) * factor)
    assert small[1].num_batches_tracked == 3


def test_a_model_that_was_not_pruned_does_not_change(dense, batches):
    structure = sc.trace(dense, batches[0][0][:2])
    whole = random_plan(structure, "keep:1.0")
    small = copy.deepcopy(dense)
    sc.recalibrate(small, batches, dense, whole)
    for name, norm in tracking_norms(small).items():
        for one, other in zip(norm.buffers(), dense.get_submodule(name).buffers(), strict=True):
            if one.is_floating_point():
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert small.bn1.num_batches_tracked == 3


def test_it_equals_plain_recalibration_if_the_dense_model_has_the_statistics_of_the_data(net, batches):
    first = batches[:1]
    sc.recalibrate(net, first)
    structure = sc.trace(net, first[0][0][:2])
    plan = random_plan(structure)
    plain, by_dense = (sc.apply(net, plan, first[0][0][:2]) for _ in range(2))
    for model in (plain, by_dense):
        with torch.no_grad():
            model[0].weight.mul_(2).add_(0.1)
    sc.recalibrate(plain, first)
    sc.recalibrate(by_dense, first, net, plan)
    for one, other in zip(by_dense.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_only_statistics_of_the_pruned_model_change(dense, batches):
    small, plan, structure = cut(dense, batches)
    dense.train()
    before = copy_state(dense)
    parameters = {name: tensor.clone() for name, tensor in small.named_parameters()}
    wrong = torch.randn(2, 4, 6, 6), None
    state = torch.get_rng_state()
    sc.recalibrate(small, batches, dense, plan, structure)
    with pytest.raises(DataError):
        sc.recalibrate(small, [batches[0], wrong], dense, plan, structure)
    assert equal_states(dense, before)
    assert all(torch.equal(tensor, parameters[name]) for name, tensor in small.named_parameters())
    assert all(module.training for module in dense.modules())
    assert not any(module.training for module in small.modules())
    assert torch.equal(torch.get_rng_state(), state)
    hooks = [m._forward_hooks or m._forward_pre_hooks for model in (dense, small) for m in model.modules()]
    assert not any(hooks)
    assert small.unused.num_batches_tracked == 0


def test_statistics_of_a_dead_channel_are_finite(dense, batches):
    with torch.no_grad():
        for layer in (dense.conv1, dense.conv2):
            layer.weight[:5] = 0
    small, plan, structure = cut(dense, batches)
    with torch.no_grad():
        small.conv1.weight.zero_()
    sc.recalibrate(small, batches, dense, plan, structure)
    assert all(torch.isfinite(buffer).all() for buffer in small.buffers())


def test_prune_recalibrates_against_the_dense_model(dense, batches):
    options = {"criterion": "l2", "budget": "macs:0.6"}
    result = sc.prune(dense, batches, **options, recalibrate=True)
    expected = sc.prune(dense, batches, **options)
    sc.recalibrate(expected.model, batches, dense, expected.plan)
    for one, other in zip(result.model.buffers(), expected.model.buffers(), strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.equal(result.model.bn1.running_var, sc.prune(dense, batches, **options).model.bn1.running_var)


def test_invalid_arguments_are_refused(dense, batches):
    small, plan, _ = cut(dense, batches)
    with pytest.raises(UsageError, match="needs both arguments"):
        sc.recalibrate(small, batches, dense)
    with pytest.raises(UsageError, match="needs both arguments"):
        sc.recalibrate(small, batches, plan=plan)
    with pytest.raises(UsageError, match="dense must be the model before pruning"):
        sc.recalibrate(dense, batches, dense, plan)
    other = random_plan(sc.trace(dense, batches[0][0][:2]), "keep:0.8")
    with pytest.raises(PlanError, match="batch norm 'bn1' does not fit the plan"):
        sc.recalibrate(small, batches, dense, other)
