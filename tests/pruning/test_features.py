"""Rankings of input features against their definitions."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from support.states import copy_state, equal_states
from torch import nn
from torch.nn import functional

import secateurs as sc
from secateurs.errors import BudgetError, CriterionError, DataError, ModelError
from secateurs.evaluate.quality import accuracy
from secateurs.pruning.input_features import rank_features


def half_squared_error(outputs, targets):
    """Half the mean squared error: its gradient is the error."""
    return 0.5 * (outputs[:, 0] - targets).square().mean()


@pytest.fixture
def linear():
    """A linear model of ten features of which the last four are irrelevant, and data for it."""
    model = nn.Linear(10, 1, bias=False)
    with torch.no_grad():
        model.weight[:, 6:] = 1e-4 * torch.randn(4)
    x, y = torch.randn(60, 10), torch.randn(60)
    return model, [(x[:40], y[:40]), (x[40:], y[40:])]


def test_taylor_is_the_mean_of_feature_times_error_times_weight_on_a_linear_model(linear):
    model, data = linear
    x, y = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    errors = model(x).detach()[:, 0] - y
    expected = (x * errors[:, None] * model.weight.detach()).abs().mean(0)
    ranking = rank_features(model, data, loss=half_squared_error)
    torch.testing.assert_close(ranking.scores, expected.double(), rtol=1e-4, atol=1e-8)


def test_irrelevant_features_have_the_lowest_taylor_scores(linear):
    model, data = linear
    ranking = rank_features(model, data, budget="keep:0.6", loss=half_squared_error)
    assert ranking.keep.tolist() == [True] * 6 + [False] * 4


def test_taylor_averages_over_single_samples(net, batches):
    """The expected scores take one backward pass per sample."""
    net.eval()
    total = torch.zeros(3, 6, 6)
    for image, label in zip(*map(torch.cat, zip(*batches, strict=True)), strict=True):
        x = image[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(net(x), label[None]), [x])
        total += (x * gradient)[0].abs().detach()
    scores = rank_features(net, batches).scores
    torch.testing.assert_close(scores, (total / 24).double(), rtol=1e-4, atol=1e-7)


def test_magnitude_and_variance_equal_their_definitions(net, batches):
    x = torch.cat([x for x, _ in batches]).double()
    torch.testing.assert_close(rank_features(net, batches, "magnitude").scores, x.abs().mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(rank_features(net, batches, "variance").scores, x.var(0, correction=0))


def test_a_large_constant_feature_has_variance_zero():
    x = 1e-3 * torch.randn(50, 4)
    x[:, 2] = 12345.678
    ranking = rank_features(nn.Linear(4, 2), [x[:20], x[20:]], "variance", "keep:0.75")
    assert ranking.scores[2] == 0
    assert ranking.keep.tolist() == [True, True, False, True]


@pytest.mark.parametrize("method", ["taylor", "magnitude", "variance"])
def test_the_batch_size_does_not_change_the_scores(net, batches, method):
    x, y = map(torch.cat, zip(*batches, strict=True))
    reference = rank_features(net, batches, method)
    other = rank_features(net, list(zip(x.split(5), y.split(5), strict=True)), method)
    torch.testing.assert_close(other.scores, reference.scores, rtol=1e-4, atol=1e-9)
    assert math.isclose(other.loss_before, reference.loss_before, rel_tol=1e-5)


def test_emp_keeps_the_effective_number_of_features(net, batches):
    for beta in (0.5, 1.0):
        ranking = rank_features(net, batches, budget=f"effective:{beta}")
        shares = ranking.scores / ranking.scores.sum()
        kept = math.floor(beta / float(shares.square().sum()))
        assert int(ranking.keep.sum()) == ranking.certificate.kept == kept
        assert ranking.scores[ranking.keep].min() >= ranking.scores[~ranking.keep].max()
    assert rank_features(net, batches, budget="keep:0.5").certificate is None
    assert int(rank_features(net, batches, budget="keep:0.5").keep.sum()) == 54


def test_apply_sets_the_other_features_to_their_means_over_the_data(net, batches):
    ranking = rank_features(net, batches)
    x = torch.cat([x for x, _ in batches])
    torch.testing.assert_close(ranking.means, x.double().mean(0))
    new = torch.randn(5, 3, 6, 6)
    expected = new.clone()
    expected[:, ~ranking.keep] = x.mean(0)[~ranking.keep]
    torch.testing.assert_close(ranking.apply(new), expected)
    assert ranking.apply(new[0]).shape == (3, 6, 6)
    assert ranking.apply(new.half()).dtype == torch.float16
    for wrong in (torch.randn(5, 3, 6, 7), torch.randn(6, 6), torch.ones(5, 3, 6, 6, dtype=torch.long)):
        with pytest.raises(DataError, match=r"floating-point inputs of shape \[\.\.\., 3, 6, 6\]"):
            ranking.apply(wrong)


def test_losses_before_and_after_equal_measured_losses(net, batches):
    ranking = rank_features(net, batches, budget="keep:0.2")
    x, y = map(torch.cat, zip(*batches, strict=True))
    net.eval()
    with torch.no_grad():
        losses = [float(functional.cross_entropy(net(inputs), y)) for inputs in (x, ranking.apply(x))]
    assert math.isclose(ranking.loss_before, losses[0], rel_tol=1e-5)
    assert math.isclose(ranking.loss_after, losses[1], rel_tol=1e-5)
    assert losses[0] != losses[1]


def test_without_targets_no_loss_is_measured(net, batches):
    ranking = rank_features(net, [x for x, _ in batches], "variance")
    assert (ranking.loss_before, ranking.loss_after) == (None, None)
    assert "loss" not in str(ranking)


def test_the_loss_of_the_model_is_used_by_default(net, batches):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, labels):
            return {"loss": functional.cross_entropy(self.net(x), labels)}

    own = rank_features(Own(), [{"x": x, "labels": y} for x, y in batches])
    assert torch.equal(own.scores, rank_features(net, batches).scores)
    assert own.loss_after is not None


class SeveralInputs(nn.Module):
    """Takes tokens and two floating inputs, and modifies one of them in place."""

    def __init__(self):
        super().__init__()
        self.table, self.a, self.b = nn.Embedding(9, 4), nn.Linear(5, 4), nn.Linear(3, 4)

    def forward(self, tokens, x, more):
        x *= 2
        return self.table(tokens) + self.a(x) + self.b(more)


def test_the_first_floating_input_is_ranked_and_inputs_are_not_modified():
    inputs = (torch.randint(9, (8,)), torch.randn(8, 5), torch.randn(8, 3))
    before = inputs[1].clone()
    ranking = rank_features(SeveralInputs(), [(inputs, torch.randint(4, (8,)))])
    assert ranking.scores.shape == (5,)
    assert torch.equal(inputs[1], before)


def test_ranking_does_not_change_the_model_or_the_random_state(net, batches):
    net.train()
    before, state = copy_state(net), torch.get_rng_state()
    rank_features(net, batches)
    assert net.training
    assert torch.equal(torch.get_rng_state(), state)
    assert equal_states(net, before)
    assert all(p.grad is None for p in net.parameters())


def test_effective_pixels_of_digits_are_more_accurate_than_random_pixels():
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, labels, test_size=0.3, random_state=0, stratify=labels)
    x, x_test, y, y_test = (torch.tensor(part) for part in parts)
    train = list(zip(x.float().split(64), y.split(64), strict=True))
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    sc.finetune(model, train, sc.Recovery(epochs=12, lr=0.1))
    ranking = rank_features(model, train)
    kept = int(ranking.keep.sum())
    assert kept < 50

    def accuracy_with(keep):
        return accuracy(model, [(torch.where(keep, x_test, ranking.means).float(), y_test)])

    dense = accuracy(model, [(x_test.float(), y_test)])
    assert dense > 0.95
    assert accuracy(model, [(ranking.apply(x_test.float()), y_test)]) == accuracy_with(ranking.keep)
    chance = [accuracy_with(torch.randperm(64) < kept) for _ in range(5)]
    assert accuracy_with(ranking.keep) > max(chance) + 0.02
    assert accuracy_with(ranking.keep) > dense - 0.1


def test_the_text_of_a_ranking_names_method_sizes_and_losses(net, batches):
    ranking = rank_features(net, batches)
    text = str(ranking)
    assert "features by taylor, effective" in text
    assert "[3, 6, 6]       108" in text
    assert str(ranking.certificate) in text
    assert f"loss {ranking.loss_before:.4g} → {ranking.loss_after:.4g}" in text
    assert "by their means over the data" in text


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (lambda x, y: [(x, y)], {"method": "tailor"}, CriterionError, "'tailor'; choose one of taylor, magnitude"),
        (lambda x, y: [(x, y)], {"budget": "macs:0.5"}, BudgetError, "'macs:0.5' cannot be used for input features"),
        (lambda x, y: [(x, y)], {"budget": "2:4"}, BudgetError, "cannot be used for input features"),
        (lambda x, y: iter([(x, y)]), {}, DataError, "only once"),
        (lambda x, y: [], {}, DataError, "empty"),
        (lambda x, y: [x], {}, DataError, "no targets"),
        (lambda x, y: [(x, y), (x[:, :, :5], y)], {}, DataError, r"batch 1: .*\[3, 5, 6\], but .* shape \[3, 6, 6\]"),
        (lambda x, y: [(x[:, :2], y)], {}, DataError, "failed on batch 0"),
        (lambda x, y: [(x / 0, y)], {}, DataError, "the scores of 108 features are not finite"),
        (lambda x, y: [(x, y[:4])], {"method": "variance"}, DataError, "hold the 4 samples"),
        (lambda x, y: [(x, y)], {"loss": lambda o, t: o}, DataError, "scalar"),
        (lambda x, y: [(x, y)], {"loss": lambda o, t: torch.zeros(())}, DataError, "no gradient"),
    ],
)
def test_invalid_data_and_options_are_refused(net, batches, data, options, error, message):
    with pytest.raises(error, match=message):
        rank_features(net, data(*batches[0]), **options)


def test_inputs_without_floating_tensors_are_refused():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3))
    with pytest.raises(DataError, match=r"batch 0 has no floating-point input \(int64\[8, 5\]\): integers"):
        rank_features(model, [(torch.randint(9, (8, 5)), torch.randint(3, (8,)))])


def test_a_model_without_weights_is_refused():
    with pytest.raises(ModelError, match="ranking its input features needs its weights"):
        rank_features(nn.Linear(3, 3, device="meta"), [(torch.randn(2, 3), torch.zeros(2).long())])
