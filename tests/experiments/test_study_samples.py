"""The study of the number of samples: draws, agreement, and the sentence."""

from collections import Counter
from dataclasses import replace
from itertools import permutations
from statistics import mean

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.studied import named
from torch.utils.data import TensorDataset

import secateurs as sc
from secateurs.errors import CriterionError, UsageError
from secateurs.experiments.studies.agreement import Agreement, agreement, cosine, cosine_by_chance
from secateurs.experiments.studies.baselines import SOURCES, Draws, labels_of
from secateurs.experiments.studies.samples import run_samples
from secateurs.experiments.studies.samples_finding import Record, sentence

SCORES = st.lists(st.floats(-9, 9), min_size=2, max_size=6).map(lambda values: torch.tensor(values).double())


@pytest.fixture
def job(tmp_path):
    return named(tmp_path)


@pytest.fixture
def dataset():
    labels = torch.tensor([0] * 20 + [1] * 5 + [2] * 15)
    return TensorDataset(torch.rand(40, 2, 3), labels)


def draws(dataset, **changes):
    options = {"pool": list(range(39, -1, -1)), "labels": labels_of(dataset), "batch_size": 7, "seed": 0, **changes}
    return Draws(dataset, **options)


def joined(batches):
    return [torch.cat(column) for column in zip(*batches, strict=True)]


@given(SCORES)
def test_the_cosine_by_chance_is_the_mean_over_all_orders(scores):
    other = scores.flip(0).exp()
    cosines = [cosine(scores[list(order)], other) for order in permutations(range(len(scores)))]
    assert cosine_by_chance(scores, other) == pytest.approx(mean(cosines), abs=1e-9)


def test_agreement_is_complete_for_equal_scores_and_lowest_for_opposite_ones():
    scores = {"a": torch.rand(9).double(), "b": torch.rand(6).double()}
    same = agreement(scores, scores)
    assert (same.cosine, same.spearman, same.overlap) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))
    assert same.overlap_by_chance == pytest.approx((5 / 9 + 3 / 6) / 2)
    opposite = agreement(scores, {name: -values for name, values in scores.items()})
    assert (opposite.cosine, opposite.spearman) == (pytest.approx(-1), pytest.approx(-1))
    assert opposite.overlap == pytest.approx((1 / 5 + 0) / 2)


def test_random_orders_agree_as_expected_by_chance():
    one = {"a": torch.rand(21).double()}
    agreements = [agreement(one, {"a": torch.rand(21).double()}) for _ in range(400)]
    for measure in ("cosine", "spearman", "overlap"):
        expected = mean(getattr(each, f"{measure}_by_chance") for each in agreements)
        assert mean(getattr(each, measure) for each in agreements) == pytest.approx(expected, abs=0.03)


def test_draws_hold_pool_samples_shuffled_values_or_noise(dataset):
    x, y = dataset.tensors
    drawn, labels = joined(draws(dataset).of("random", 10))
    assert torch.equal(drawn, x[30:].flip(0))
    assert torch.equal(labels, y[30:].flip(0))
    assert torch.equal(joined(draws(dataset).of("random", 25))[0][:10], drawn)
    shuffled, _ = joined(draws(dataset).of("shuffled", 10))
    assert torch.equal(shuffled.flatten(1).sort(1).values, drawn.flatten(1).sort(1).values)
    assert not torch.equal(shuffled, drawn)
    gaussian, same = joined(draws(dataset).of("gaussian", 40))
    assert gaussian.shape == (40, 2, 3)
    assert torch.equal(same, y.flip(0))
    assert abs(gaussian.mean()) < 0.3
    assert abs(gaussian.std() - 1) < 0.3


@pytest.mark.parametrize("size", [3, 4, 14, 15, 30])
def test_stratified_draws_are_balanced_as_far_as_possible(dataset, size):
    counts = Counter(joined(draws(dataset).of("stratified", size))[1].tolist())
    assert sum(counts.values()) == size
    unexhausted = [counts[label] for label, total in ((0, 20), (1, 5), (2, 15)) if counts[label] < total]
    assert max(counts.values()) - min(unexhausted) <= 1


def test_targets_that_are_not_class_numbers_give_no_labels(dataset):
    assert labels_of(TensorDataset(*dataset.tensors[:1])) is None
    assert labels_of(TensorDataset(dataset.tensors[0], torch.rand(40))) is None


def test_scores_of_few_samples_are_compared_with_those_of_many(job):
    finding = run_samples(job, ["nexp", "random"], [8, 20], seeds=2)
    records = finding.data["records"]
    assert finding.data["reference"] == 40
    assert {record["source"] for record in records} == set(SOURCES)
    assert len(records) == 2 * 4 * 2 * 2
    assert len(finding.rows) == 2 * 4
    agreements = [r["agreement"] for r in records if (r["criterion"], r["source"], r["size"]) == ("nexp", "random", 20)]
    row = next(row for row in finding.rows if row[:2] == ["nexp", "random"])
    assert row[2].startswith(f"{mean(each['cosine'] for each in agreements):.3f}")
    assert row[6].startswith(f"{mean(each['overlap'] for each in agreements):.2f}")
    # The agreement of the first seed, computed from the scores of two batches.
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    x = torch.from_numpy(np.load(job.data[4:])["x"])
    many, few = (sc.score(job.dense(), [x[part]], "nexp") for part in (order[:40], order[40:60]))
    expected = mean(cosine(many[name], few[name]) for name in many)
    assert agreements[0]["cosine"] == pytest.approx(expected, abs=1e-6)


def test_random_scores_do_not_correlate_with_themselves(job):
    records = run_samples(job, ["random"], [8, 20], seeds=8).data["records"]
    assert abs(mean(record["agreement"]["spearman"] for record in records)) < 0.15


def test_data_without_classes_has_no_stratified_draws(tmp_path):
    finding = run_samples(named(tmp_path, classes=False), ["nexp"], [8], seeds=1)
    assert {record["source"] for record in finding.data["records"]} == set(SOURCES) - {"stratified"}
    assert any("no classes" in note for note in finding.notes)


def record(criterion, source, size, cosine, overlap):
    return Record(criterion, source, size, 0, Agreement(cosine, 0.9, 0.5, overlap, 0.5))


def test_the_samples_sentence_states_cosine_overlap_and_chance():
    few = [record("some", "random", 16, 0.99, 0.6), record("some", "gaussian", 16, 0.98, 0.51)]
    text = sentence([*few, record("some", "random", 8, 0.9, 0.5), record("some", "gaussian", 8, 0.9, 0.5)], 100)
    assert "cosine of 0.990 (by chance 0.900)" in text
    assert "0.60" in text
    assert "0.51 with gaussian" in text
    assert "by chance is 0.50" in text


@pytest.mark.parametrize(
    ("sizes", "data", "message"), [([50], "", "half"), ([1], "", "≥ 2"), ([8], "random:64", "drawn")]
)
def test_samples_study_refuses_impossible_sizes_and_generated_data(job, sizes, data, message):
    with pytest.raises(UsageError, match=message):
        run_samples(replace(job, data=data or job.data), ["nexp"], sizes)
    with pytest.raises(CriterionError, match="nxep"):
        run_samples(job, ["nxep"], [8])
