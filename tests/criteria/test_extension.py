"""Criteria, families, statistics and gradients of a user's own: one definition each, no edit inside the package."""

import doctest

import pytest
import torch
from torch.nn.functional import cross_entropy

import secateurs as sc
from secateurs.criteria import CRITERIA, Evidence, Request, Weight, families, temporary_criteria
from secateurs.errors import CriterionError, DataError
from secateurs.observe import FISHER, LOSS_GRADIENT, Gradient, SampleMean, Statistic, merge_statistics, observe


@pytest.fixture(autouse=True)
def _undone():
    with temporary_criteria():
        yield


# Families

FAMILY = '''
"""A family in a file."""

from secateurs import criterion


@criterion("largest-weight", source="a file")
def largest_weight(evidence):
    """Largest weight."""
    return evidence.combine([weight.abs().amax(1) for weight in evidence.weights()])
'''


def test_a_family_is_one_file_that_is_found_by_itself(net, batches, tmp_path, monkeypatch):
    (tmp_path / "family_of_this_test.py").write_text(FAMILY)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    families.load_families()
    expected = (net[7].weight.abs().amax(1) + net[9].weight.abs().amax(0)) / 2
    torch.testing.assert_close(sc.score(net, batches, "largest-weight")["7"], expected.detach().double())


def test_registering_is_undone_at_the_end_of_the_block():
    before = dict(CRITERIA)
    with temporary_criteria():
        sc.criterion("mine", source="this test")(lone)
        assert "mine" in CRITERIA
    assert before == CRITERIA


def lone(evidence):
    """The same for all."""
    return torch.ones(evidence.group.size)


@pytest.mark.parametrize("name", ["", "reversed-mine", "a*b", "a+b", "a@b"])
def test_names_with_a_meaning_in_other_texts_are_refused(name):
    with pytest.raises(CriterionError, match="invalid name of a criterion"):
        sc.criterion(name, source="this test")(lone)


# Statistics


class Largest(Statistic):
    """The largest value of each unit."""

    def __init__(self, values=None):
        self.values = values

    @classmethod
    def of(cls, x, lengths=None):
        return cls(x.movedim(1, 0).flatten(1).amax(1))

    def merge(self, other):
        if self.values is None or other.values is None:
            return Largest(other.values if self.values is None else self.values)
        return Largest(torch.maximum(self.values, other.values))

    def state(self):
        return {"values": self.values}

    @classmethod
    def size(cls, samples, units, positions):
        return 4 * units


LARGEST = Request("after", Largest)


def largest(evidence):
    """Largest activation of the unit."""
    return evidence.combine([statistic.values for statistic in evidence.statistics(LARGEST)])


@torch.no_grad()
def largest_activation(net, x):
    return net.eval()[:3](x).movedim(1, 0).flatten(1).amax(1).double()


def test_a_statistic_is_one_class_that_a_criterion_requests(net, batches):
    sc.criterion("largest", source="this test", requests=(LARGEST,))(largest)
    expected = largest_activation(net, torch.cat([x for x, _ in batches]))
    torch.testing.assert_close(sc.score(net, batches, "largest")["0"], expected)
    one_by_one = [x for batch, _ in batches for x in batch.split(1)]
    torch.testing.assert_close(sc.score(net, one_by_one, "largest")["0"], expected, rtol=1e-5, atol=1e-6)
    assert sc.prune(net, batches, criterion="0.5*largest+0.5*l1", budget="keep:0.5").cost.params > 0


def test_a_statistic_of_parts_of_the_data_merges_to_that_of_all(net, batches):
    tap = sc.trace(net, batches[0][0]).groups["0"].after[0]
    parts = [observe(net, [batch], {tap: [Largest]})[tap, Largest] for batch in batches]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    torch.testing.assert_close(merged.values.double(), largest_activation(net, torch.cat([x for x, _ in batches])))


def test_a_statistic_merges_over_ranks(monkeypatch):
    """Other ranks send the state, and the constructor makes the statistic again."""
    ranks = [Largest(torch.tensor([1.0, 5.0])), Largest(), Largest(torch.tensor([3.0, 2.0]))]
    monkeypatch.setattr("secateurs.observe.statistics.gather_ranks", lambda data, state: [r.state() for r in ranks])
    assert merge_statistics(None, ranks[0]).values.tolist() == [3, 5]


# Gradients


class Magnitude(SampleMean):
    """The mean over samples of the magnitude of a sample's gradient."""

    name, summary, per_sample = "magnitude", "mean magnitude of a sample's gradient", True

    def term(self, step):
        return {name: gradient.abs() for name, gradient in step.gradients.items()}


class OutputGradient(Gradient):
    """The gradient of the sum of all outputs for inputs of ones, from a pass of its own and without data."""

    name, summary = "output", "the gradient of the outputs"
    needs_data = needs_loss = False

    def compute(self, setting, computed):
        ones = setting.structure.inputs.map(lambda t: torch.ones(t.shape))
        total = ones.run(setting.model).sum()
        return dict(zip(setting.parameters, torch.autograd.grad(total, list(setting.parameters.values())), strict=True))


class Signal(Gradient):
    """|mean gradient| / √Fisher, from two other gradients."""

    name, summary = "signal", "|mean gradient| over the root of the Fisher information"
    requires = (LOSS_GRADIENT, FISHER)

    def compute(self, setting, computed):
        mean, fisher = computed[LOSS_GRADIENT], computed[FISHER]
        return {name: mean[name].abs() / (fisher[name].sqrt() + 1e-12) for name in mean}


def per_weight(gradient):
    def score(evidence):
        """Sum of the gradient over the weights."""
        return evidence.sums(lambda weight: weight.gradient(gradient))

    return score


def sample_gradients(net, batches):
    """The gradients of the last layer's weight, sample by sample."""
    net.eval()
    losses = [cross_entropy(net(x[n : n + 1]), y[n : n + 1]) for x, y in batches for n in range(len(x))]
    return torch.stack([torch.autograd.grad(loss, net[9].weight)[0] for loss in losses])


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [
        (Magnitude(), lambda g: g.abs().mean(0)),
        (Signal(), lambda g: g.mean(0).abs() / (g.square().mean(0).sqrt() + 1e-12)),
    ],
)
def test_a_gradient_is_one_class_that_a_criterion_names(net, batches, gradient, expected):
    def score(evidence):
        """Sum over the weights that use the unit."""
        return evidence.entries(lambda weight: weight.gradient(gradient), consumed=True)[0].sum(1)

    sc.criterion("mine", source="this test", gradients=(gradient,))(score)
    scores = sc.score(net, batches, "mine")["7"]
    torch.testing.assert_close(scores, expected(sample_gradients(net, batches)).sum(0).double(), rtol=1e-4, atol=1e-6)
    assert (CRITERIA["mine"].needs, CRITERIA["mine"].needs_loss) == ("gradients", True)


def test_gradients_of_a_user_share_the_pass_with_those_of_the_library(net, batches):
    reads = []

    class Data:
        def __iter__(self):
            reads.append(1)
            return iter(batches)

    magnitude = Magnitude()
    sc.criterion("mine", source="this test", gradients=(magnitude,))(per_weight(magnitude))
    sc.score_many(net, Data(), ["mine", "fisher", "taylor"], sc.trace(net, batches[0][0]))
    assert len(reads) == 1


def test_a_gradient_may_need_neither_data_nor_a_loss(net, images):
    output = OutputGradient()
    sc.criterion("mine", source="this test", gradients=(output,))(per_weight(output))
    mine = CRITERIA["mine"]
    assert (mine.needs, mine.needs_data, mine.needs_loss) == ("weights", False, False)
    structure = sc.trace(net, images)
    scores = sc.score(net, None, "mine", structure)
    net.eval().zero_grad()
    net(torch.ones_like(images)).sum().backward()
    expected = (net[7].weight.grad.sum(1) + net[9].weight.grad.sum(0)) / 2
    torch.testing.assert_close(scores["7"], expected.double(), rtol=1e-4, atol=1e-5)


def test_masking_takes_a_gradient_of_a_user(net, batches):
    magnitude = Magnitude()
    entries = lambda weight: weight.gradient(magnitude)  # noqa: E731
    sc.criterion("mine", source="this test", gradients=(magnitude,), entries=entries)(per_weight(magnitude))
    masked = sc.mask(net, batches, "mine", "keep:0.25", scope="layer")
    importance = sample_gradients(net, batches).abs().mean(0)
    kept = masked.masks["9.weight"]
    assert kept.sum() == kept.numel() // 4
    assert importance[kept].min() >= importance[~kept].max() - 1e-6


def test_names_of_gradients_are_accepted_where_users_write_them(net, batches):
    @sc.criterion("mine", source="this test", gradients=("fisher",))
    def mine(evidence):
        """Fisher information of the weights."""
        return evidence.sums(lambda weight: weight.value.square() * weight.gradient("fisher"), vectors=True)

    scores = sc.score_many(net, batches, ["mine", "fisher"])
    assert all(torch.equal(scores["mine"][group], values) for group, values in scores["fisher"].items())


def test_an_unknown_gradient_is_refused_with_the_names_of_all():
    with pytest.raises(CriterionError, match="criterion 'mine': unknown gradient 'fischer'; choose one of "):
        sc.criterion("mine", source="this test", gradients=("fischer",))(lone)


def test_a_gradient_of_a_user_that_is_not_finite_is_refused_by_name(net, batches):
    class Infinite(Magnitude):
        name = "infinite"

        def term(self, step):
            return {name: gradient / 0 for name, gradient in step.gradients.items()}

    infinite = Infinite()
    sc.criterion("mine", source="this test", gradients=(infinite,))(per_weight(infinite))
    with pytest.raises(DataError, match=r"the infinite of '0\.weight' is not finite"):
        sc.score(net, batches, "mine")


# Places


def test_an_unknown_place_is_refused_with_the_names_of_all():
    with pytest.raises(
        CriterionError, match=r"unknown place 'before'; choose one of after, fired, around, operand, maps, arrival"
    ):
        sc.criterion("mine", source="this test", requests=(Request("before", Largest),))(lone)


def test_entries_are_scored_by_statistics_of_operands_alone():
    with pytest.raises(CriterionError, match="at 'after' for scores of entries; choose the place 'operand' or 'maps'"):
        sc.criterion("mine", source="this test", entries=lambda w: w.value, entry_requests=(LARGEST,))(lone)


def test_a_criterion_says_which_requests_scoring_entries_needs():
    assert [request.place for request in CRITERIA["obs"].requests] == ["maps", "arrival"]
    assert [request.place for request in CRITERIA["obs"].for_entries.requests] == ["maps"]
    assert CRITERIA["synflow"].for_entries.gradients != CRITERIA["synflow"].gradients


# Examples


@pytest.mark.parametrize(
    "named", [Statistic, Gradient, SampleMean, observe, Evidence, Weight, Request, temporary_criteria]
)
def test_the_example_of_a_name_for_users_runs(named, net, batches):
    names = {"sc": sc, "torch": torch, "model": net, "data": batches, "example_inputs": batches[0][0]}
    tests = doctest.DocTestFinder().find(named, named.__name__, module=False, globs=names)
    said = []
    for test in tests:
        doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert any(test.examples for test in tests)
    assert not said, "".join(said)
