"""Tracking of scores during training, and the differentiation loss."""

import copy
import json
import re
from contextlib import nullcontext

import pytest
import torch
from support.models import Apply, Dense, Shared
from torch import nn
from torch.nn import functional as F

import secateurs as sc
from secateurs.errors import CriterionError, DataError, ModelError, PersistError, UsageError
from secateurs.experiments import demo
from secateurs.training.differentiation_loss import differentiation_loss, mean_squared_correlation
from secateurs.training.track import track

COMPONENTS = ["ndi", "diversity", "informativeness", "fisher"]


def trained(model, batches, after_step=lambda: None):
    """Weights, gradients and random state after six training steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x, y in batches * 2:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        after_step()
    gradients = [p.grad for p in model.parameters()]
    return [*model.state_dict().values(), *gradients, torch.get_rng_state()]


@pytest.fixture
def noisy(net):
    return nn.Sequential(*net[:9], nn.Dropout(0.5), net[9]).train()


@pytest.mark.filterwarnings("ignore::secateurs.errors.SecateursWarning")
def test_tracking_does_not_change_training(noisy, batches):
    twin = copy.deepcopy(noisy)
    torch.manual_seed(3)
    expected = trained(twin, batches)
    torch.manual_seed(3)
    loader = torch.utils.data.DataLoader(torch.randn(16, 3, 6, 6), 8, shuffle=True)  # draws random numbers
    torch.manual_seed(3)
    trackers = [track(noisy, batches, COMPONENTS, every=1), track(noisy, loader, "nexp", every=2)]
    weights = trained(noisy, batches, lambda: [tracker.step() for tracker in trackers])
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    assert all(module.training for module in noisy.modules())


def test_scores_are_recorded_at_the_start_and_then_at_intervals(net, batches):
    structure = sc.trace(net, batches[0][0])
    tracker = track(net, batches, "l1", every=2, structure=structure)
    scores = [sc.score(net, batches, "l1", structure)]
    trained(net, batches, lambda: (tracker.step(), scores.append(sc.score(net, batches, "l1", structure))))
    assert [record.step for record in tracker.history] == [0, 2, 4, 6]
    assert tracker.steps == 6
    for step, recorded in tracker.history:
        assert {name: values.tolist() for name, values in recorded["l1"].items()} == {
            name: values.tolist() for name, values in scores[step].items()
        }
    assert not torch.equal(scores[0]["0"], scores[6]["0"])


def test_all_records_use_the_same_samples(net, batches):
    tracker = track(net, iter(batches), ["random", "nexp"], every=1, seed=4)
    tracker.step()
    first, second = (record.scores for record in tracker.history)
    assert all(torch.equal(first[c][name], second[c][name]) for c in first for name in first[c])
    assert torch.equal(first["nexp"]["0"], sc.score(net, batches, "nexp")["0"])


def test_the_loss_of_the_user_is_used(net, batches):
    def loss(outputs, targets):
        return 3 * F.cross_entropy(outputs, targets, label_smoothing=0.1)

    scores = track(net, batches[:1], "fisher", loss=loss).history[0].scores["fisher"]
    assert torch.equal(scores["0"], sc.score(net, batches[:1], "fisher", loss=loss)["0"])


def test_rows_and_file_contain_every_score(net, batches, tmp_path):
    tracker = track(net, batches, ["l1", "nexp"], every=1)
    tracker.step()
    rows = tracker.rows()
    assert len(rows) == 2 * 2 * (8 + 12 + 16)
    expected = float(tracker.history[1].scores["nexp"]["3"][5])
    assert {"step": 1, "criterion": "nexp", "group": "3", "unit": 5, "score": expected} in rows
    tracker.save(tmp_path / "scores.jsonl")
    assert [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()] == rows
    with pytest.raises(PersistError, match="nowhere"):
        tracker.save(tmp_path / "nowhere" / "scores.jsonl")


def test_the_figure_has_a_panel_per_group_and_a_line_per_unit_and_mean(net, batches):
    tracker = track(net, batches, ["l1", "nexp"], every=1)
    tracker.step()
    svg = tracker.figure("nexp")
    assert svg.startswith("<svg")
    assert "nexp" in svg
    assert "l1" not in svg
    lines = re.findall(r"stroke: (#2a9d8f|#e9873d)", svg)
    assert [lines.count(colour) for colour in ("#2a9d8f", "#e9873d")] == [8 + 12 + 16, 3]
    assert re.findall(r">(0|3|7)</text>", svg)
    assert tracker.figure() != svg
    with pytest.raises(CriterionError, match="'ndi' was not tracked: choose one of l1, nexp"):
        tracker.figure("ndi")


@pytest.mark.parametrize("every", [0, -1, 2.5, "often"])
def test_an_invalid_interval_is_refused(net, batches, every):
    with pytest.raises(UsageError, match="every must be"):
        track(net, batches, every=every)


def test_invalid_arguments_are_refused_before_training(net, batches, images):
    with pytest.raises(CriterionError, match="unknown criterion 'best'"):
        track(net, batches, "best")
    with pytest.raises(CriterionError, match="give a list"):
        track(net, batches, [])
    with pytest.raises(DataError, match="single batch into a list"):
        track(net, images)
    with pytest.raises(DataError, match="no targets"):
        track(net, [images], "fisher")
    with pytest.raises(ModelError, match="expected a torch"):
        track(str, batches, structure=sc.trace(net, images))


def test_a_model_that_was_cut_cannot_be_tracked_further(net, batches):
    tracker = track(net, batches, "l1", every=1)
    net[7], net[9] = nn.Linear(12, 9), nn.Linear(9, 4)
    with pytest.raises(ModelError, match=r"'7.weight' has shape \[9, 12\], traced as \[16, 12\]"):
        tracker.step()
    with pytest.raises(ModelError, match=r"'enter.weight' does not exist, traced as"):
        differentiation_loss(net, sc.trace(Shared(), torch.randn(2, 6)))


def pairs(z):
    """Reference of the mean squared correlation between two different columns."""
    r = torch.corrcoef(z.T).nan_to_num(0)  # nan for constant units
    return r[~torch.eye(len(r), dtype=torch.bool)].square().mean()


def value(model, *inputs):
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
    torch.testing.assert_close(value(net, x), torch.stack([pairs(z) for z in pooled]).mean(), rtol=1e-12, atol=0)


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
    torch.testing.assert_close(loss(), pairs(seen[0].mean(1)), rtol=1e-12, atol=0)
    assert "nn.Linear" in loss.left_out["self_attn:1"]


def test_units_with_several_features_are_separated():
    dense, x = Dense().double(), torch.randn(16, 3, 8, 8, dtype=torch.float64)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).double()
    torch.testing.assert_close(value(model, x), pairs(model[:2](x).mean((2, 3))), rtol=1e-12, atol=0)
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
    value(net, torch.randn(8, 3, 6, 6)).backward()
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
    others = pairs(z.detach()[:, [0, 1, 3]])
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
    loss = value(model, x)
    seen = seen[-4:]
    torch.testing.assert_close(loss, torch.stack([pairs(z) for z in seen]).mean())


def test_layers_may_get_their_input_as_a_keyword():
    model = Apply(lambda m, x: m.b(input=m.a(input=x).relu()), a=nn.Linear(6, 8), b=nn.Linear(8, 3)).double()
    x = torch.randn(9, 6, dtype=torch.float64)
    torch.testing.assert_close(value(model, x), pairs(model.a(x).relu()))


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
