"""Studies of scores: how many samples, and what single units are worth. That their numbers are what they say."""

import json
import sys
from collections import Counter
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from support.studied import named
from torch.utils.data import TensorDataset

import secateurs as sc
from secateurs import cli
from secateurs.errors import CriterionError, UsageError
from secateurs.experiments.studies import ablation_finding
from secateurs.experiments.studies.ablation import loss_without, run_ablation
from secateurs.experiments.studies.ablation_finding import Ranks, by_chance, ranks
from secateurs.experiments.studies.agreement import Agreement, agreement, cosine, cosine_by_chance
from secateurs.experiments.studies.baselines import SOURCES, Draws, labels_of
from secateurs.experiments.studies.samples import run_samples
from secateurs.experiments.studies.samples_finding import Record, sentence
from secateurs.structure.trace import trace

SCORES = st.lists(st.floats(-9, 9), min_size=2, max_size=6).map(lambda values: torch.tensor(values).double())


@pytest.fixture
def job(tmp_path):
    return named(tmp_path)


@pytest.fixture
def dataset():
    labels = torch.tensor([0] * 20 + [1] * 5 + [2] * 15)
    return TensorDataset(torch.rand(40, 2, 3), labels)


def draws(dataset, **changes):
    its = {"pool": list(range(39, -1, -1)), "labels": labels_of(dataset), "batch_size": 7, "seed": 0, **changes}
    return Draws(dataset, **its)


def joined(batches):
    return [torch.cat(column) for column in zip(*batches, strict=True)]


@given(SCORES)
def test_the_cosine_by_chance_is_the_mean_over_all_orders(scores):
    other = scores.flip(0).exp()
    every = [cosine(scores[list(order)], other) for order in permutations(range(len(scores)))]
    assert cosine_by_chance(scores, other) == pytest.approx(mean(every), abs=1e-9)


def test_agreement_is_complete_for_equal_scores_and_lowest_for_opposite_ones():
    scores = {"a": torch.rand(9).double(), "b": torch.rand(6).double()}
    same = agreement(scores, scores)
    assert (same.cosine, same.spearman, same.overlap) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))
    assert same.overlap_by_chance == pytest.approx((5 / 9 + 3 / 6) / 2)
    opposite = agreement(scores, {name: -its for name, its in scores.items()})
    assert (opposite.cosine, opposite.spearman) == (pytest.approx(-1), pytest.approx(-1))
    assert opposite.overlap == pytest.approx((1 / 5 + 0) / 2)


def test_random_orders_agree_as_expected_by_chance():
    one = {"a": torch.rand(21).double()}
    agreements = [agreement(one, {"a": torch.rand(21).double()}) for _ in range(400)]
    for measure in ("cosine", "spearman", "overlap"):
        expected = mean(getattr(its, f"{measure}_by_chance") for its in agreements)
        assert mean(getattr(its, measure) for its in agreements) == pytest.approx(expected, abs=0.03)


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
    free = [counts[its] for its, most in ((0, 20), (1, 5), (2, 15)) if counts[its] < most]
    assert max(counts.values()) - min(free) <= 1


def test_targets_that_are_not_class_numbers_give_no_labels(dataset):
    assert labels_of(TensorDataset(*dataset.tensors[:1])) is None
    assert labels_of(TensorDataset(dataset.tensors[0], torch.rand(40))) is None


def test_samples_are_compared_with_many_others(job):
    finding = run_samples(job, ["nexp", "random"], [8, 20], seeds=2)
    records = finding.data["records"]
    assert finding.data["reference"] == 40
    assert {its["source"] for its in records} == set(SOURCES)
    assert len(records) == 2 * 4 * 2 * 2
    assert len(finding.rows) == 2 * 4
    ours = [r["agreement"] for r in records if (r["criterion"], r["source"], r["size"]) == ("nexp", "random", 20)]
    row = next(row for row in finding.rows if row[:2] == ["nexp", "random"])
    assert row[2].startswith(f"{mean(its['cosine'] for its in ours):.3f}")
    assert row[6].startswith(f"{mean(its['overlap'] for its in ours):.2f}")
    # by hand, for the first seed
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    x = torch.from_numpy(np.load(job.data[4:])["x"])
    many, few = (sc.score(job.dense(), [x[part]], "nexp") for part in (order[:40], order[40:60]))
    by_hand = mean(cosine(many[name], few[name]) for name in many)
    assert ours[0]["cosine"] == pytest.approx(by_hand, abs=1e-6)


def test_random_scores_do_not_correlate_with_themselves(job):
    records = run_samples(job, ["random"], [8, 20], seeds=8).data["records"]
    assert abs(mean(its["agreement"]["spearman"] for its in records)) < 0.15


def test_data_without_classes_has_no_stratified_draws(tmp_path):
    finding = run_samples(named(tmp_path, classes=False), ["nexp"], [8], seeds=1)
    assert {its["source"] for its in finding.data["records"]} == set(SOURCES) - {"stratified"}
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


def test_loss_without_a_unit_equals_the_loss_with_its_weights_set_to_zero(job):
    model, test = job.dense(), job.tested()
    structure = trace(model, torch.zeros(2, 6))
    changed = job.dense()
    with torch.no_grad():
        changed[0].weight[4] = changed[0].bias[4] = 0
    assert loss_without(model, structure, "0", 4, test) == pytest.approx(sc.mean_loss(changed, test))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), job.dense().parameters(), strict=True))


def test_ablation_ranks_follow_from_the_reported_data(job):
    finding = run_ablation(job, ["l1", "taylor"], seeds=2)
    harm = finding.data["harm"]
    assert {name: len(its) for name, its in harm.items()} == {"0": 12, "2": 10}
    for its in finding.data["ranks"]:
        scores = finding.data["scores"][its["seed"]][its["criterion"]]
        groups = [spearmanr(scores[name], harm[name])[0] for name in harm]
        assert its["within"] == pytest.approx(mean(groups))
        together = spearmanr(scores["0"] + scores["2"], harm["0"] + harm["2"])[0]
        assert its["together"] == pytest.approx(together)
    assert [row[0] for row in finding.rows] == ["l1", "taylor", "random"]
    assert finding.rows[0][1].startswith(f"{finding.data['ranks'][0]['within']:.2f}")


def test_scores_proportional_to_the_loss_change_have_a_correlation_of_one():
    harm = {"a": torch.rand(9).double(), "b": 5 + torch.rand(4).double()}
    perfect = ranks("some", 0, {name: 3 * its + 1 for name, its in harm.items()}, harm)
    assert (perfect.within, perfect.together) == (pytest.approx(1), pytest.approx(1))
    shifted = ranks("some", 0, {"a": harm["a"] + 9, "b": harm["b"]}, harm)
    assert shifted.within == pytest.approx(1)
    assert shifted.together < 0.5


def test_one_random_order_in_a_hundred_exceeds_the_chance_limit():
    harm = {"a": torch.rand(30).double(), "b": torch.rand(12).double()}
    limit = by_chance(harm)
    shuffled = [{name: its[torch.randperm(len(its))] for name, its in harm.items()} for _ in range(300)]
    above = sum(ranks("random", 0, its, harm).within > limit for its in shuffled)
    assert above <= 12


def test_the_ablation_sentence_separates_criteria_above_the_limit_from_the_rest():
    harm = {"a": torch.linspace(-1, 3, 41).double()}
    results = [Ranks(name, seed, {}, its, 0) for name, its in (("sees", 0.9), ("blind", 0.1)) for seed in range(2)]
    text = ablation_finding.sentence(results, harm)
    assert "seed for sees (0.90 ± 0.00); it does not for blind (0.10 ± 0.00)" in text
    assert "lowers the loss for 24% of the units" in text
    assert "seed for none; it" in ablation_finding.sentence(results[2:], harm)
    assert "not for none." in ablation_finding.sentence(results[:2], harm)


def test_ablation_removes_the_given_number_of_units_and_needs_test_data(job):
    assert [len(its) for its in run_ablation(job, ["l1"], units=5, seeds=1).data["harm"].values()] == [5, 5]
    with pytest.raises(UsageError, match="--test"):
        run_ablation(replace(job, test=""))
    with pytest.raises(UsageError, match="--units"):
        run_ablation(job, units=2)


@pytest.mark.parametrize("study", ["samples --sizes 8,16 --criteria nexp", "ablation --criteria l1 --units 4"])
def test_the_commands_print_and_write(study, job, tmp_path, monkeypatch, capsys):
    options = f"--data {job.data} --test {job.test} --seeds 1 --out {tmp_path / 'new'}"
    monkeypatch.setattr(sys, "argv", ["secateurs", "study", *study.split(), job.model, *options.split()])
    with pytest.raises(SystemExit) as left:
        cli.main()
    out = capsys.readouterr().out
    assert left.value.code == 0
    name = study.split()[0]
    written = json.loads((tmp_path / "new" / f"{name}.json").read_text())
    assert written["sentence"] in out
    assert written["command"].startswith(f"secateurs study {name}")
    for picture in (tmp_path / "new").glob("*.svg"):
        assert f"]({picture.name})" in (tmp_path / "new" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", ["samples", "ablation", "hybrid", "beta", "schedule"])
def test_the_guide_quotes_the_recorded_sentence_and_pictures(name):
    root = Path(__file__).parents[2]
    recorded = json.loads((root / "benchmarks" / "results" / "studies" / f"{name}.json").read_text())
    guide = " ".join((root / "docs" / "studies.md").read_text().replace("\n> ", " ").split())
    assert recorded["sentence"] in guide
    for picture in (root / "benchmarks" / "results" / "studies").glob(f"{name}-*.svg"):
        assert f"(../benchmarks/results/studies/{picture.name})" in guide
