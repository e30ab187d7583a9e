"""The differentiation loss: the mean squared correlation of the units of a group."""

from contextlib import nullcontext

import pytest
import torch
from support.models import Apply, Dense, Shared
from torch import nn
from torch.nn import functional as F

import secateurs as sc
from secateurs.errors import DataError, ModelError, UsageError
from secateurs.experiments import demo
from secateurs.training.differentiation_loss import differentiation_loss, mean_squared_correlation


def squared_correlations(z):
    """Reference of the mean squared correlation between two different columns."""
    r = torch.corrcoef(z.T).nan_to_num(0)  # nan for constant units
    return r[~torch.eye(len(r), dtype=torch.bool)].square().mean()


def loss_of(model, *inputs):
    """The loss of one forward pass."""
    loss, half = (differentiation_loss(model, sc.trace(model, inputs), weight) for weight in (1.0, 0.5))
    with loss, half:
        model(*inputs)
    torch.testing.assert_close(half(), loss() / 2)
    return loss()


def test_the_loss_is_the_mean_squared_correlation_of_linear_and_convolutional_units(net):
    net, x = net.double(), torch.randn(32, 3, 6, 6, dtype=torch.float64)
    net.eval()
    pooled = [net[:3](x).mean((2, 3)), net[:5](x).mean((2, 3)), net[:9](x)]
    torch.testing.assert_close(
        loss_of(net, x), torch.stack([squared_correlations(z) for z in pooled]).mean(), rtol=1e-12, atol=0
    )


def test_the_units_of_a_transformer_are_read_at_its_linear_layers():
    block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0, batch_first=True).double()
    x = torch.randn(20, 5, 8, dtype=torch.float64)
    structure = sc.trace(block, x)
    loss = differentiation_loss(block, structure)
    with loss:
        block(x)
    seen = []
    hook = block.linear2.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    block(x)
    hook.remove()
    torch.testing.assert_close(loss(), squared_correlations(seen[0].mean(1)), rtol=1e-12, atol=0)
    assert "nn.Linear" in loss.left_out["self_attn:1"]


def test_units_with_several_features_are_separated():
    dense, x = Dense().double(), torch.randn(16, 3, 8, 8, dtype=torch.float64)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).double()
    torch.testing.assert_close(loss_of(model, x), squared_correlations(model[:2](x).mean((2, 3))), rtol=1e-12, atol=0)
    loss = differentiation_loss(dense, sc.trace(dense, x))
    with loss:
        dense(x)
    assert not loss.left_out
    assert 0 < float(loss().detach()) < 1


def test_the_gradient_equals_a_numerical_gradient():
    z = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    wide = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mean_squared_correlation, z)
    assert torch.autograd.gradcheck(mean_squared_correlation, wide)


def test_the_gradient_reaches_the_weights_that_make_the_units(net, images):
    loss_of(net, torch.randn(8, 3, 6, 6)).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == ["9.weight", "9.bias"]
    assert float(net[3].weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("shape", [(50, 6), (6, 50)])
def test_scaling_and_shifting_units_changes_nothing(shape):
    z = torch.randn(shape, dtype=torch.float64)
    scales = torch.logspace(-20, 20, shape[1], dtype=torch.float64)
    moved = (torch.linspace(-20, 20, shape[1]) - z) * scales
    torch.testing.assert_close(mean_squared_correlation(moved), mean_squared_correlation(z))


def test_uncorrelated_units_have_loss_zero_and_copies_loss_one():
    z = torch.randn(40, 5, dtype=torch.float64)
    white = torch.linalg.qr(z - z.mean(0)).Q
    assert float(mean_squared_correlation(white)) == pytest.approx(0, abs=1e-15)
    copies = torch.stack([z[:, 0], -2 * z[:, 0] + 5, z[:, 0] / 7], 1)
    assert float(mean_squared_correlation(copies)) == pytest.approx(1)


@pytest.mark.parametrize("constant", [0.0, 3.3, -1e5])
@pytest.mark.parametrize("rounding", [0, torch.finfo(torch.float32).eps])
def test_constant_units_have_no_correlation_and_no_gradient(constant, rounding):
    z = torch.randn(50, 4)
    z[:, 2] = constant * (1 + rounding * torch.arange(50).remainder(3))
    z.requires_grad_()
    loss = mean_squared_correlation(z)
    loss.backward()
    others = squared_correlations(z.detach()[:, [0, 1, 3]])
    torch.testing.assert_close(loss.detach(), others * (3 * 2) / (4 * 3))
    assert torch.isfinite(z.grad).all()
    assert z.grad[:, 2].tolist() == [0] * 50


def test_correlations_are_computed_without_mixed_precision():
    z = torch.randn(64, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = mean_squared_correlation(z)
    assert torch.equal(inside, mean_squared_correlation(z))


def test_a_module_that_runs_twice_counts_twice():
    model, x = Shared().double(), torch.randn(30, 6, dtype=torch.float64)
    seen = []
    for module in (model.twice, model.also, model.leave):
        module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    loss = loss_of(model, x)
    seen = seen[-4:]
    torch.testing.assert_close(loss, torch.stack([squared_correlations(z) for z in seen]).mean())


def test_layers_may_get_their_input_as_a_keyword():
    model = Apply(lambda m, x: m.b(input=m.a(input=x).relu()), a=nn.Linear(6, 8), b=nn.Linear(8, 3)).double()
    x = torch.randn(9, 6, dtype=torch.float64)
    torch.testing.assert_close(loss_of(model, x), squared_correlations(model.a(x).relu()))


class Interrupting(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        if self.error is not None:
            raise self.error
        return x


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_all_hooks_are_removed(net, images, error):
    breaks = Interrupting(None)
    model = nn.Sequential(*net, breaks)
    loss = differentiation_loss(model, sc.trace(model, images))
    assert not any(module._forward_pre_hooks for module in model.modules())
    breaks.error = error
    with nullcontext() if error is None else pytest.raises(error), loss:
        assert any(module._forward_pre_hooks for module in model.modules())
        model(images)
    assert not any(module._forward_pre_hooks for module in model.modules())
    breaks.error = None
    with loss:  # the loss can be used again after an error
        model(images)
    assert float(loss().detach()) > 0


def test_invalid_use_of_the_loss_is_refused(net, images):
    loss = differentiation_loss(net, sc.trace(net, images))
    with pytest.raises(UsageError, match="run the model inside the `with` block"):
        loss()
    with loss, pytest.raises(UsageError, match="active already"):
        loss.__enter__()
    assert not net[3]._forward_pre_hooks
    with loss, pytest.raises(DataError, match="drop_last"):
        net(images[:1])
    with pytest.raises(ModelError, match="no units that can be decorrelated"):
        differentiation_loss(net, sc.trace(net, images, keep=["*"]))
    with pytest.raises(UsageError, match="must be a positive number, not 0"):
        differentiation_loss(net, sc.trace(net, images), weight=0)


def test_a_structure_of_another_model_is_refused(net):
    with pytest.raises(ModelError, match=r"'enter.weight' does not exist, traced as"):
        differentiation_loss(net, sc.trace(Shared(), torch.randn(2, 6)))


def test_training_with_the_loss_decorrelates_units():
    digits = demo.Digits.load()

    def correlation(weight):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
        loss = differentiation_loss(model, sc.trace(model, torch.randn(2, 1, 8, 8)))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(5):
            for x, y in digits.batches(seed=0):
                with loss:
                    outputs = model(x)
                optimizer.zero_grad()
                (F.cross_entropy(outputs, y) + weight * loss()).backward()
                optimizer.step()
        hidden = model[:3](digits.test.tensors[0]).detach()
        return float(torch.corrcoef(hidden.T).fill_diagonal_(0).abs().mean()), sc.evaluate.accuracy(
            model, digits.test_batches()
        )

    (without_loss, _), (with_loss, accuracy) = correlation(0), correlation(1)
    assert with_loss < 0.7 * without_loss
    assert accuracy > 0.9
