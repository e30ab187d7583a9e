"""Recalibration and fine-tuning."""

import copy

import pytest
import torch
from torch import nn

import secateurs as sc
from secateurs.errors import DataError, ModelError, UsageError


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
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
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


def test_finetuning_reduces_the_loss_in_place_and_is_reproducible(net, batches):
    state = torch.get_rng_state()
    net.eval()
    twin = copy.deepcopy(net)
    first = sc.finetune(net, batches, sc.Recovery(epochs=15, lr=0.05), seed=3)
    assert first.train[-1] < first.train[0] - 0.1
    after = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert sc.finetune(twin, batches, sc.Recovery(epochs=15, lr=0.05), seed=3) == first
    assert all(torch.equal(tensor, after[name]) for name, tensor in twin.state_dict().items())
    assert not net.training
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)


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


def test_a_model_without_trainable_parameters_is_refused(net, batches):
    with pytest.raises(ModelError, match="nothing to train"):
        sc.finetune(net.requires_grad_(False), batches)


def test_frozen_parameters_do_not_change(net, batches):
    net[0].weight.requires_grad_(False)
    before = net[0].weight.clone()
    sc.finetune(net, batches, sc.Recovery(lr=0.1))
    assert torch.equal(net[0].weight, before)


def test_distillation_approaches_the_teacher_and_does_not_change_it(batches):
    torch.manual_seed(1)
    teacher, pupil = (nn.Sequential(nn.Flatten(), nn.Linear(108, 4)) for _ in range(2))
    data = [(x, torch.zeros(len(x), dtype=torch.int64)) for x, _ in batches]

    def difference():
        with torch.no_grad():
            return sum(float((teacher(x).softmax(1) - pupil(x).softmax(1)).abs().mean()) for x, _ in data)

    before, weights = difference(), teacher[1].weight.clone()
    zero = lambda outputs, targets: outputs.sum() * 0  # noqa: E731 (leaves only the distillation loss)
    sc.finetune(pupil, data, sc.Recovery(epochs=30, lr=0.05, distill_weight=0.5), teacher=teacher, loss=zero)
    assert difference() < before / 3
    assert torch.equal(teacher[1].weight, weights)
    assert teacher.training


def test_loss_and_optimiser_can_be_replaced(batches):
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 1))
    data = [(x, x.mean((1, 2, 3))) for x, _ in batches]
    loss = lambda outputs, targets: (outputs[:, 0] - targets).square().mean()  # noqa: E731
    recipe = sc.Recovery(epochs=20, lr=1e-2)
    history = sc.finetune(model, data, recipe, loss=loss, optimizer=lambda p: torch.optim.Adam(p)).train
    assert history[-1] < history[0] / 5


def test_the_loss_of_the_model_is_the_default():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x, labels):
            logits = self.layer(x)
            return {"logits": logits, "loss": nn.functional.cross_entropy(logits, labels)}

    data = [{"x": torch.randn(8, 4), "labels": torch.randint(3, (8,))}]
    history = sc.finetune(Own(), data, sc.Recovery(epochs=10, lr=0.1)).train
    assert history[-1] < history[0]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, "empty"),
        ([torch.randn(4, 3, 6, 6)], {}, "no targets"),
        ([(torch.randn(4, 3, 6, 6), torch.tensor([0, 1]))], {}, "batch 0"),
        ([(torch.randn(4, 5, 6, 6), torch.zeros(4).long())], {}, "failed on batch 0"),
        ([(torch.randn(4, 3, 6, 6), torch.zeros(4).long())], {"epochs": 0}, "number of epochs"),
        ([(torch.randn(4, 3, 6, 6), torch.zeros(4).long())], {"epochs": 1.5}, "number of epochs"),
        ([(torch.randn(4, 3, 6, 6), torch.zeros(4).long())], {"lr": -1}, "positive learning rate"),
        (iter([(torch.randn(4, 3, 6, 6), torch.zeros(4).long())]), {"epochs": 2}, "only once"),
        ([(torch.randn(4, 3, 6, 6) * 1e30, torch.zeros(4).long())] * 3, {"lr": 1e9}, "lower the learning rate"),
    ],
)
def test_invalid_data_and_options_are_refused(net, data, options, message):
    net.eval()
    with pytest.raises((DataError, UsageError), match=message):
        sc.finetune(net, data, sc.Recovery(**options))
    assert not net.training
    assert all(p.grad is None and torch.isfinite(p).all() for p in net.parameters())
    assert "_is_accelerate_prepared" not in vars(net)
