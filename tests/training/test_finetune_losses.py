"""Losses of fine-tuning: labels, distillation, and terms that are added."""

import pytest
import torch
from support.finetuning import image_classifier, train_reference
from torch import nn
from torch.testing import assert_close

import secateurs as sc
from secateurs.data.batch import Batch
from secateurs.data.call import Call
from secateurs.training.objective import Objective


def test_pure_distillation_needs_no_targets():
    teacher, pupil = image_classifier(), image_classifier()
    with torch.no_grad():
        pupil[3].weight.zero_()
    data = [torch.randn(16, 3, 6, 6) for _ in range(4)]
    recipe = sc.Recovery(epochs=40, lr=0.2, distill_weight=1.0)
    history = sc.finetune(pupil, data, recipe, teacher=teacher)
    assert history.train[-1] < history.train[0] / 5


def test_distillation_of_tokens_skips_padding():
    logits, other = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    labels = torch.tensor([[1, 2, 3, -100, -100], [4, 5, 6, 0, 1]])
    teacher, pupil = nn.Identity(), nn.Identity()
    teacher.forward = lambda x: other
    loss = Objective(None, None, teacher, 1.0, 2.0)(pupil, Batch(Call((logits,)), labels, 0))
    soft = [(tensor / 2).log_softmax(-1) for tensor in (logits, other)]
    expected = [
        float((soft[1][n, t].exp() * (soft[1][n, t] - soft[0][n, t])).sum())
        for n in range(2)
        for t in range(5)
        if labels[n, t] >= 0
    ]
    assert float(loss) == pytest.approx(4 * sum(expected) / len(expected))


def test_the_extra_loss_is_added(batches):
    model, reference = image_classifier(), image_classifier()
    recipe = sc.Recovery(epochs=2, weight_decay=0.0)
    sc.finetune(model, batches, recipe, extra_loss=lambda: sum(p.square().sum() for p in model.parameters()) * 0.05)
    train_reference(reference, batches, sc.Recovery(epochs=2, weight_decay=0.1))  # the gradient of 0.05 w² is 0.1 w
    assert_close(model.state_dict(), reference.state_dict())


def test_units_differ_more_after_training_with_the_differentiation_loss(net, batches):
    structure = sc.trace(net, batches[0][0])
    differentiation = sc.differentiation_loss(net, structure, weight=2.0)

    def correlation():
        with torch.no_grad(), differentiation:
            net(batches[0][0])
        return float(differentiation())

    before = correlation()
    zero = lambda outputs, targets: outputs.sum() * 0  # noqa: E731
    sc.finetune(net, batches, sc.Recovery(epochs=20, lr=0.5), loss=zero, extra_loss=differentiation)
    assert correlation() < before / 2
    assert not any(module._forward_pre_hooks for module in net.modules())


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
