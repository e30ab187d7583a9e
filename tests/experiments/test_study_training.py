"""Studies that train from scratch: initialisation, activations and dynamics."""

import json
from statistics import mean

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.states import copy_state, equal_states

from secateurs.cli import app
from secateurs.errors import UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.studies import activations, dynamics, initialisation, retrain
from secateurs.experiments.studies.activations_finding import ActivationScores
from secateurs.experiments.studies.dynamics_finding import Course
from secateurs.experiments.studies.initialisation_finding import ScoreChange
from secateurs.experiments.studies.retrain import architecture, train, trained, untrained
from secateurs.experiments.studies.wording import against, sides
from secateurs.training.recipe import Recovery


def test_distance_from_a_control_is_stated_with_its_uncertainty():
    assert against([0.9, 0.92], [0.8, 0.8], "random") == "11.0 ± 1.4 points above random"
    assert against([0.5], [0.6], "random") == "10.0 points below random"
    assert against([0.5, 0.7], [0.6, 0.65], "random") == "2.5 ± 10.6 points below random, within the spread over seeds"
    assert against([0.5, 0.7], [0.5, 0.7], "random") == "level with random"


def test_labels_are_grouped_by_their_side_of_the_control():
    better, worse, doubtful = ([0.9, 0.9], [0.8, 0.8]), ([0.1, 0.1], [0.2, 0.2]), ([0.1, 0.3], [0.2, 0.2])
    text = sides({"a": better, "b": worse, "c": better, "d": doubtful}, "random")
    assert text == "above random with a and c, below random with b, within the spread of random with d"
    assert sides({"a": better, "c": better}, "random") == "above random with all"


def score_change(correlation, early, late):
    return ScoreChange({"a": correlation, "b": correlation / 2}, {"a": 0.5, "b": 0.7}, early, late)


def initialisation_finding(nexp, l1=(0.9, 0.8, 0.8), random=(0.0, 0.8, 0.8)):
    """The finding of two equal seeds."""
    changes = {"nexp": score_change(*nexp), "l1": score_change(*l1), "random": score_change(*random)}
    return initialisation.summarise([retrain.SeedResult(0.95, changes)] * 2, Job("m", "d"), (2, 1), "again")


def test_the_initialisation_sentence_follows_from_the_data():
    worse, better = initialisation_finding((0.4, 0.7, 0.7)).sentence, initialisation_finding((0.4, 0.9, 0.8)).sentence
    assert (
        "The ranking of nexp at initialisation has a correlation of 0.30 ± 0.00 with the ranking after training"
        in worse
    )
    assert "l1, the highest of the others: 0.68" in worse
    assert "picks 60 ± 0 % of the units" in worse
    assert worse.count("10.0 ± 0.0 points below random") == 2
    assert "pruned at initialisation ends 10.0 ± 0.0 points above random" in better
    assert better.endswith("after training ends level with random.")


def test_without_training_or_pruning_scores_and_accuracies_do_not_change(job):
    barely = job(budget="keep:1.0", recovery=Recovery(lr=1e-9, weight_decay=0.0))
    finding = initialisation.run_initialisation(barely, ["l1"], seeds=2, epochs=1, recovery_epochs=1)
    for result in finding.data["rounds"]:
        l1, random = (result["seen"][name] for name in ("l1", "random"))
        assert all(l1[measure][group] == 1 for measure in ("correlation", "overlap") for group in "03")
        assert abs(mean(random["correlation"].values())) < 0.7
        assert {result["dense"]} == {scores[when] for scores in (l1, random) for when in ("early", "late")}


def rounds_of(nexp, median, random):
    """The results of one activation with two equal seeds."""
    accuracies = {"nexp": nexp, "nexp-median": median, "l1": random, "random": random}
    scores = {name: ActivationScores({"a": 0.4}, {"a": 0.25}, {"a": 1.0}, value) for name, value in accuracies.items()}
    return [retrain.SeedResult(0.95, scores)] * 2


def test_the_activations_sentence_follows_from_the_data():
    rounds = {"relu": rounds_of(0.9, 0.8, 0.7), "silu": rounds_of(0.6, 0.6, 0.7)}
    sentence = activations.summarise(rounds, Job("m", "d"), (2, 1), "again").sentence
    assert "scores is 0.40 (relu), 0.40 (silu) with threshold 0" in sentence
    assert "25 (relu), 25 (silu) % of a group's units share" in sentence
    assert "nexp ends above random with relu, below random with silu" in sentence
    assert sentence.endswith("nexp-median ends below nexp with relu, within the spread of nexp with silu.")


def test_the_median_gives_equal_scores_to_units_with_one_value_per_input(job):
    finding = activations.run_activations(job(), ["relu", "gelu"], seeds=1, epochs=1, recovery_epochs=1)
    rounds = finding.data["rounds"]
    gelu = rounds["gelu"][0]["seen"]
    assert set(gelu["nexp-median"]["level"].values()) == {1.0}
    assert set(gelu["nexp-median"]["spread"].values()) == {0.0}
    assert list(gelu["nexp"]["correlation"].values()) == pytest.approx([1.0, 1.0])
    assert max(gelu["nexp"]["level"].values()) < 1
    row = next(row for row in finding.rows if row[:2] == ["gelu", "l1"])
    assert row[2] == f"{mean(gelu['l1']['spread'].values()):.2f}"
    assert row[-1] == f"{100 * gelu['l1']['accuracy']:.1f}"


def test_an_unknown_activation_is_refused_by_name(job):
    with pytest.raises(UsageError, match="swoosh"):
        activations.run_activations(job(), ["relu", "swoosh"])


def test_a_course_correlates_with_its_last_record_and_settles_where_it_stays():
    first, last = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.4, 0.3, 0.2, 0.1])
    course = Course.of([{"a": scores} for scores in (first, last, first, last, last + 1)])
    assert course.correlation["a"] == pytest.approx([-1, 1, -1, 1, 1])
    assert course.mean["a"] == pytest.approx([0.25, 0.25, 0.25, 0.25, 1.25])
    assert course.settled("a") == 0.75
    assert Course.of([{"a": first}] * 5).settled("a") == 0


def test_the_dynamics_sentence_follows_from_the_data():
    up, down = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.4, 0.3, 0.2, 0.1])

    def sentence(*records):
        course = Course.of([{"a": scores, "b": 2 * scores} for scores in records])
        return dynamics.summarise([{"ndi": course, "random": course}] * 2, [0, 5, 10], {}, Job("m", "d"), "").sentence

    assert "a rank correlation of -1.00 ± 0.00 with the order at the end" in sentence(down, down, up)
    assert "settles (≥ 0.9) after 100 ± 0 % of the training (random: 100 %)" in sentence(down, down, up)
    assert "a rank correlation of 1.00 ± 0.00 with the order at the end" in sentence(up, up, up + 1)
    assert "settles (≥ 0.9) after 0 ± 0 % of the training" in sentence(up, up, up + 1)
    assert "changes by +1.00 (a) to +2.00 (b)" in sentence(up, up, up + 1)


def test_tracking_does_not_change_the_training(job):
    study_job, model = job(), untrained(architecture(job()), job())
    tracker = dynamics._track_training(architecture(study_job), study_job, ["l1"], 3, 1, lambda items, _: items)
    assert tracker.steps == 3  # one batch an epoch
    assert equal_states(tracker._model, trained(model, study_job, 3))
    assert not equal_states(copy_state(model), train(model, study_job, 3))


@pytest.mark.parametrize(
    ("options", "arguments"),
    [({}, {"records": 4}), ({}, {"criteria": ["random"]}), ({"recovery": Recovery(patience=1)}, {})],
)
def test_dynamics_refuses_unsupported_options(job, options, arguments):
    with pytest.raises(UsageError, match=r"records|patience"):
        dynamics.run_dynamics(job(**options), **{"epochs": 3, "records": 2, **arguments})


@pytest.mark.parametrize(
    ("study", "options", "figures"),
    [
        ("initialisation", "--criteria nexp --epochs 1 --recovery-epochs 1", ["scores"]),
        ("activations", "--activations silu --epochs 1 --recovery-epochs 1", ["scores"]),
        ("dynamics", "--epochs 4 --records 2 --criteria ndi,l1 --batch-size 20", ["trajectories", "settling"]),
    ],
)
def test_the_commands_measure_and_write(directory, tmp_path, study, options, figures):
    files = [
        f"py:{directory / 'model.py'}:net",
        "--data",
        f"npz:{directory / 'train.npz'}",
        "--test",
        f"npz:{directory / 'test.npz'}",
    ]
    done = CliRunner().invoke(
        app, ["study", study, *files, *options.split(), "--seeds", "2", "--json", "--out", str(tmp_path)]
    )
    assert done.exception is None
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / f"{study}.json").read_text())
    assert printed["sentence"] in (tmp_path / f"{study}.md").read_text()
    assert "random" in printed["sentence"]
    assert {len(row) for row in printed["rows"]} == {len(printed["headers"])}
    assert {path.name for path in tmp_path.glob("*.svg")} == {f"{study}-{name}.svg" for name in figures}


def test_the_dynamics_table_follows_from_the_data(job):
    finding = dynamics.run_dynamics(job(batch_size=20), ["ndi", "l1"], seeds=2, epochs=2, records=2)
    assert finding.data["steps"] == [0, 3, 6]
    for name in ("ndi", "l1", "random"):
        courses = [result[name] for result in finding.data["rounds"]]
        row = next(row for row in finding.rows if row[:2] == [name, "all"])
        ends = [mean(values[-1] for values in course["mean"].values()) for course in courses]
        starts = [mean(course["correlation"][group][0] for group in course["mean"]) for course in courses]
        assert row[4] == f"{np.mean(ends):.3f} ± {np.std(ends, ddof=1):.3f}"
        assert row[5] == f"{np.mean(starts):.2f} ± {np.std(starts, ddof=1):.2f}"
