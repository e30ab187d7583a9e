"""Sequences of several lengths: padding does not change statistics."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.texts import batch_of, nexp_by_pairs, sentences
from torch import nn

import secateurs as sc
from secateurs.errors import DataError
from secateurs.observe.feature_maps import MapRanks, NuclearDrops
from secateurs.observe.observe import observe
from secateurs.observe.padding import without_padding
from secateurs.observe.samples import Pooled, Sampled
from secateurs.observe.totals import FiringCounts, Moments, Totals
from secateurs.structure import ObservedUnits

STATISTICS = (FiringCounts, Totals, Moments, Pooled, Sampled, MapRanks, NuclearDrops)
LENGTHS = st.lists(st.integers(1, 6), min_size=2, max_size=6)


def ragged(lengths, units, features, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, units, n, features, generator=generator, dtype=torch.float64) for n in lengths]


def padded(samples, size, left):
    """All samples in one padded tensor, with the mask of positions that are not padding."""
    x = torch.full((len(samples), samples[0].shape[1], size, samples[0].shape[3]), 99.0, dtype=torch.float64)
    counted = torch.zeros(len(samples), size, dtype=torch.bool)
    for i, sample in enumerate(samples):
        n = sample.shape[2]
        part = slice(size - n, size) if left[i] else slice(0, n)
        x[i, :, part], counted[i, part] = sample[0], True
    return ObservedUnits(x, counted)


@pytest.mark.parametrize("kind", STATISTICS)
@settings(max_examples=25, deadline=None)
@given(LENGTHS, st.integers(1, 3), st.integers(0, 4), st.integers(0, 10**6), st.data())
def test_padding_does_not_change_statistics(kind, lengths, features, more, seed, data):
    samples = ragged(lengths, 3, features, seed)
    left = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    together, alone = kind.of(*without_padding(padded(samples, max(lengths) + more, left))), kind()
    for sample in samples:
        alone = alone.extended(sample)
    torch.testing.assert_close(together.state(), alone.state(), rtol=1e-6, atol=1e-6, equal_nan=True)


def scores_of(kind, samples, criterion):
    """Scores of a criterion on the samples, one sample per batch."""
    statistic = kind()
    for sample in samples:
        statistic = statistic.extended(sample)
    group = SimpleNamespace(name="g")
    evidence = SimpleNamespace(statistics=lambda _: [statistic], combine=lambda values: values[0], group=group)
    return sc.criteria.CRITERIA[criterion].score(evidence)


@pytest.mark.filterwarnings("ignore::secateurs.errors.DeadUnitsWarning")
@settings(max_examples=25, deadline=None)
@given(LENGTHS, st.integers(1, 3), st.integers(0, 10**6))
def test_inputs_of_several_lengths_are_compared_at_common_positions(lengths, features, seed):
    samples = ragged(lengths, 3, features, seed)
    torch.testing.assert_close(scores_of(FiringCounts, samples, "nexp"), nexp_by_pairs(samples), rtol=1e-6, atol=1e-7)
    share = torch.cat([(s > 0)[0].flatten(1) for s in samples], 1).double().mean(1)
    torch.testing.assert_close(scores_of(FiringCounts, samples, "apoz"), share)


@settings(max_examples=25, deadline=None)
@given(LENGTHS, st.integers(0, 10**6))
def test_the_median_is_over_all_values_except_padding(lengths, seed):
    samples = ragged(lengths, 3, 1, seed)
    median = torch.cat([s[0].flatten(1) for s in samples], 1).sort(1).values[:, (sum(lengths) - 1) // 2]
    expected = nexp_by_pairs([s - median[:, None, None] for s in samples])
    torch.testing.assert_close(scores_of(Sampled, samples, "nexp-median"), expected, rtol=1e-6, atol=1e-7)


class Tokens(nn.Module):
    """An embedding and two layers, with several layouts of samples and positions between them."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.embed, self.a, self.b = nn.Embedding(9, 5), nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids)
        samples, length = input_ids.shape
        if self.form == "flat":
            x = x.reshape(-1, 5)
        elif self.form == "positions first":
            x = x.transpose(0, 1)
        elif self.form == "positions first, flat":
            x = x.transpose(0, 1).reshape(-1, 5)
        elif self.form == "repeated":
            x = x[:, :, None].expand(samples, length, 2, 5).reshape(-1, 5)
        elif self.form == "with a class token":
            x = torch.cat([x.new_zeros(samples, 1, 5), x], 1)
        return self.b(self.a(x).relu())

    def hidden(self, ids):
        """Activations of one sample [1, positions, units], including a class token if there is one."""
        x = self.embed(ids)
        x = torch.cat([x.new_zeros(1, 1, 5), x], 1) if self.form == "with a class token" else x
        return self.a(x).relu()


FORMS = ("whole", "flat", "positions first", "positions first, flat", "repeated", "with a class token")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("traced", [(2, 4), (3, 3), (2, 7)])
def test_other_lengths_are_observed_in_every_layout(form, traced):
    """Some shapes are ambiguous: a number equals another dimension or the traced number of samples."""
    model = Tokens(form).eval()
    structure = sc.trace(model, {"input_ids": torch.randint(9, traced)})
    tap = structure.groups["a"].after[0]
    for shape in ((3, 4), (4, 3), (5, 7), (6, 6), (1, 9), (2, 1)):
        ids = torch.randint(9, shape)
        values = observe(model, [{"input_ids": ids}], {tap: [Pooled]})[tap, Pooled].values
        torch.testing.assert_close(values, torch.cat([model.hidden(text[None]).mean(1) for text in ids]))


@pytest.mark.parametrize("form", FORMS)
def test_padding_is_recognised_in_every_layout(form):
    texts = sentences((4, 2, 6), vocabulary=9)
    model = Tokens(form).double().eval()
    structure = sc.trace(model, {"input_ids": torch.randint(9, (2, 5))})
    tap = structure.groups["a"].after[0]
    for left in (False, True):
        values = observe(model, [batch_of(texts, 8, left)], {tap: [Pooled]})[tap, Pooled].values
        torch.testing.assert_close(values, torch.cat([model.hidden(text).mean(1) for text in texts]))


@pytest.mark.parametrize("form", FORMS)
def test_a_trace_on_one_sample_suffices_unless_samples_and_positions_share_a_dimension(form):
    model = Tokens(form).eval()
    tap = sc.trace(model, {"input_ids": torch.randint(9, (1, 4))}).groups["a"].after[0]
    ids = torch.randint(9, (3, 5))
    alone = torch.cat([model.hidden(text[None]).mean(1) for text in ids])
    values = observe(model, [{"input_ids": text[None]} for text in ids], {tap: [Pooled]})[tap, Pooled].values
    torch.testing.assert_close(values, alone)
    if form in ("flat", "positions first, flat", "repeated"):
        with pytest.raises(DataError, match=r"shape .* traced as .*trace the model on several samples"):
            observe(model, [{"input_ids": ids}], {tap: [Pooled]})
    else:
        values = observe(model, [{"input_ids": ids}], {tap: [Pooled]})[tap, Pooled].values
        torch.testing.assert_close(values, alone)


def test_a_mask_of_the_wrong_shape_and_a_mask_without_positions_are_refused():
    model = Tokens("whole")
    statistics = {sc.trace(model, {"input_ids": torch.randint(9, (2, 2))}).groups["a"].after[0]: [Pooled]}
    ids = torch.ones(2, 2, dtype=torch.long)
    for mask, message in (
        (torch.tensor([[1, 1], [0, 0]]), "'attention_mask' marks all positions of sample 1 as padding"),
        (torch.ones(2, 3), r"'attention_mask' has shape \[2, 3\], but the batch has 2 samples of 2 positions"),
    ):
        with pytest.raises(DataError, match=message):
            observe(model, [{"input_ids": ids, "attention_mask": mask}], statistics)
