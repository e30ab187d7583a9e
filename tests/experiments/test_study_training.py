"""Studies that train from scratch: new weights, swapped activations, and what is said of what was measured."""

import json
import re
from statistics import mean

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.jobs import make_job
from torch import nn
from torch.nn import functional

import secateurs as sc
from secateurs.cli import app
from secateurs.data.call import as_call
from secateurs.errors import ModelError, UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.studies import activations, dynamics, initialisation, retrain
from secateurs.experiments.studies.activations_finding import ActivationScores
from secateurs.experiments.studies.dynamics_finding import Course
from secateurs.experiments.studies.initialisation_finding import ScoreChange
from secateurs.experiments.studies.retrain import architecture, check, reinitialised, train, trained, untrained
from secateurs.experiments.studies.swap import ACTIVATIONS, swap_activations
from secateurs.experiments.studies.wording import against, sides
from secateurs.training.recipe import Recovery

MODEL = """
from torch import nn
from torch.nn import functional

def net():
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(),
                         nn.Linear(12, 3))

class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.act, self.head = Inner(), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.act(self.inner(x)))

class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 8)

    def forward(self, x):
        return functional.gelu(self.linear(x))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model and its data: three clouds of points."""
    place = tmp_path_factory.mktemp("place")
    (place / "model.py").write_text(MODEL)
    generator = np.random.default_rng(0)
    for name in ("train", "test"):
        y = np.arange(60) % 3
        x = generator.normal(size=(60, 4)) + 2 * np.eye(3, 4)[y]
        np.savez(place / f"{name}.npz", x=x.astype("float32"), y=y)
    return place


@pytest.fixture
def job(place):
    def job(model="net", **options):
        named = {"model": f"py:{place / 'model.py'}:{model}", "data": f"npz:{place / 'train.npz'}"}
        given = {"test": f"npz:{place / 'test.npz'}", "recovery": Recovery(lr=0.05), "compensate": False}
        return make_job(**{**named, **given, **options})

    return job


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


# New weights


def test_reinitialising_depends_on_the_seed_and_changes_neither_model_nor_random_state(net):
    before, random = state(net), torch.get_rng_state()
    one, again, other = (state(reinitialised(net, seed)) for seed in (1, 1, 2))
    assert same(before, state(net))
    assert torch.equal(random, torch.get_rng_state())
    assert same(one, again)
    weights = [name for name, tensor in one.items() if name.endswith("weight") and tensor.ndim > 1]
    assert len(weights) == 4
    assert not any(torch.equal(one[name], its[name]) for name in weights for its in (other, before))


def test_reinitialised_weights_equal_those_of_a_new_module():
    old = nn.Linear(5, 7)
    torch.manual_seed(3)
    fresh = nn.Linear(5, 7)
    assert same(state(fresh), state(reinitialised(old, 3)))
    attention = nn.MultiheadAttention(4, 2)
    nn.init.ones_(attention.in_proj_weight)
    nn.init.ones_(attention.out_proj.bias)
    fresh = reinitialised(attention, 0)
    assert fresh.in_proj_weight.unique().numel() > 40  # its own parameter
    assert not fresh.out_proj.bias.any()  # a module's own method has the last word over those in it


def test_modules_that_cannot_be_reset_are_named():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(3))

    with pytest.raises(ModelError, match=r"1\.0 \(Scale\).*reset_parameters"):
        reinitialised(nn.Sequential(nn.Linear(3, 3), nn.Sequential(Scale())), 0)


def test_an_untrained_network_has_batch_norm_of_the_data(job):
    model = untrained(architecture(job()), job())
    x = torch.cat([batch[0] for batch in job(batch_size=60).calibration()])
    torch.testing.assert_close(model[1].running_mean, model[0](x).mean(0).detach())
    bare = untrained(nn.Sequential(nn.Linear(4, 3)), job())
    assert same(state(bare), state(reinitialised(nn.Sequential(nn.Linear(4, 3)), 0)))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"data": "random:64"}, "random:64"),
        ({"weights": "w.safetensors"}, "--weights"),
        ({"fit": "py:a.py:fit"}, "--fit"),
        ({"recovery": Recovery(distill_weight=0.5)}, "--distill-weight"),
        ({"between": Recovery(), "schedule": sc.Schedule(2)}, "--epochs-between"),
        ({"budget": "half"}, "half"),
    ],
)
def test_unsupported_options_are_refused_before_any_work(job, options, named):
    with pytest.raises(Exception, match=re.escape(named)):
        check(job(**options), 1, 1)


def test_a_study_needs_seeds_epochs_and_a_test(job):
    for numbers in ((0, 1), (1, 0), (1, 2, 0)):
        with pytest.raises(UsageError, match="at least one"):
            check(job(), *numbers)
    with pytest.raises(UsageError, match="--test"):
        retrain.test_data(job(test=""))


# Other activations


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_all_activation_modules_are_replaced_and_nothing_else(name):
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 3)), nn.GELU(), nn.Tanh())
    before, x = state(model), torch.randn(5, 3)
    new = swap_activations(model, name, as_call(x))
    assert [type(its) for its in model.modules()].count(nn.GELU) == 1
    assert same(before, state(new))
    activate = ACTIVATIONS[name]()
    assert torch.equal(new(x), torch.tanh(activate(model[1][1](activate(model[0](x))))))


def test_activations_called_as_functions_are_refused_with_the_calling_module(job):
    with pytest.raises(ModelError, match=r"gelu in 'inner'"):
        swap_activations(job("Functional").dense(), "relu", as_call(torch.randn(2, 4)))

    class Own(nn.Sequential):
        def forward(self, x):
            return functional.leaky_relu(super().forward(x))

    with pytest.raises(ModelError, match="leaky_relu in forward of the model itself"):
        swap_activations(Own(nn.Linear(3, 3), nn.ReLU()), "relu", as_call(torch.randn(2, 3)))
    with pytest.raises(ModelError, match="nothing to replace"):
        swap_activations(nn.Linear(3, 3), "relu", as_call(torch.randn(2, 3)))


def test_activations_of_the_digits_network_can_be_replaced():
    new = swap_activations(activations.network(), "silu", as_call(torch.randn(2, 1, 8, 8)))
    assert [type(its) for its in new].count(nn.SiLU) == 4


# Words


def test_distance_from_a_control_is_stated_with_its_uncertainty():
    assert against([0.9, 0.92], [0.8, 0.8], "random") == "11.0 ± 1.4 points above random"
    assert against([0.5], [0.6], "random") == "10.0 points below random"
    assert against([0.5, 0.7], [0.6, 0.65], "random") == "2.5 ± 10.6 points below random, within the spread over seeds"
    assert against([0.5, 0.7], [0.5, 0.7], "random") == "level with random"


def test_places_are_grouped_by_side():
    better, worse, doubtful = ([0.9, 0.9], [0.8, 0.8]), ([0.1, 0.1], [0.2, 0.2]), ([0.1, 0.3], [0.2, 0.2])
    said = sides({"a": better, "b": worse, "c": better, "d": doubtful}, "random")
    assert said == "above random with a and c, below random with b, within the spread of random with d"
    assert sides({"a": better, "c": better}, "random") == "above random with all"


# Initialisation


def seen(correlation, early, late):
    return ScoreChange({"a": correlation, "b": correlation / 2}, {"a": 0.5, "b": 0.7}, early, late)


def said_of(nexp, l1=(0.9, 0.8, 0.8), random=(0.0, 0.8, 0.8)):
    """The finding of two equal seeds."""
    its = {"nexp": seen(*nexp), "l1": seen(*l1), "random": seen(*random)}
    return initialisation.summarise([retrain.SeedResult(0.95, its)] * 2, Job("m", "d"), (2, 1), "again")


def test_the_initialisation_sentence_follows_from_the_data():
    worse, better = said_of((0.4, 0.7, 0.7)).sentence, said_of((0.4, 0.9, 0.8)).sentence
    assert (
        "The ranking of nexp at initialisation has a correlation of 0.30 ± 0.00 with the ranking after training"
        in worse
    )
    assert "l1, the highest of the others: 0.68" in worse
    assert "picks 60 ± 0 % of the units" in worse
    assert worse.count("10.0 ± 0.0 points below random") == 2
    assert "pruned at initialisation ends 10.0 ± 0.0 points above random" in better
    assert better.endswith("after training ends level with random.")


def test_without_training_or_cutting_scores_agree_and_accuracies_equal_the_dense_one(job):
    barely = job(budget="keep:1.0", recovery=Recovery(lr=1e-9, weight_decay=0.0))
    finding = initialisation.run_initialisation(barely, ["l1"], seeds=2, epochs=1, recovery_epochs=1)
    for its in finding.data["rounds"]:
        assert all(its["seen"]["l1"][what][group] == 1 for what in ("correlation", "overlap") for group in "03")
        assert abs(mean(its["seen"]["random"]["correlation"].values())) < 0.7
        assert {its["dense"]} == {its["seen"][name][when] for name in ("l1", "random") for when in ("early", "late")}


# Activations


def rounds_of(nexp, median, random):
    """Those of one activation and two equal seeds."""
    its = {"nexp": nexp, "nexp-median": median, "l1": random, "random": random}
    made = {name: ActivationScores({"a": 0.4}, {"a": 0.25}, {"a": 1.0}, accuracy) for name, accuracy in its.items()}
    return [retrain.SeedResult(0.95, made)] * 2


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


def test_an_unknown_activation_is_named(job):
    with pytest.raises(UsageError, match="swoosh"):
        activations.run_activations(job(), ["relu", "swoosh"])


# Dynamics


def test_a_course_correlates_with_its_last_record_and_settles_where_it_stays():
    first, last = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.4, 0.3, 0.2, 0.1])
    course = Course.of([{"a": its} for its in (first, last, first, last, last + 1)])
    assert course.correlation["a"] == pytest.approx([-1, 1, -1, 1, 1])
    assert course.mean["a"] == pytest.approx([0.25, 0.25, 0.25, 0.25, 1.25])
    assert course.settled("a") == 0.75
    assert Course.of([{"a": first}] * 5).settled("a") == 0


def test_the_dynamics_sentence_follows_from_the_data():
    up, down = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.4, 0.3, 0.2, 0.1])

    def said(*records):
        course = Course.of([{"a": its, "b": 2 * its} for its in records])
        return dynamics.summarise([{"ndi": course, "random": course}] * 2, [0, 5, 10], {}, Job("m", "d"), "").sentence

    assert "a rank correlation of -1.00 ± 0.00 with the order at the end" in said(down, down, up)
    assert "settles (≥ 0.9) after 100 ± 0 % of the training (random: 100 %)" in said(down, down, up)
    assert "a rank correlation of 1.00 ± 0.00 with the order at the end" in said(up, up, up + 1)
    assert "settles (≥ 0.9) after 0 ± 0 % of the training" in said(up, up, up + 1)
    assert "changes by +1.00 (a) to +2.00 (b)" in said(up, up, up + 1)


def test_tracking_does_not_change_the_training(job):
    its, model = job(), untrained(architecture(job()), job())
    tracker = dynamics._track_training(architecture(its), its, ["l1"], 3, 1, lambda items, _: items)
    assert tracker.steps == 3  # one batch an epoch
    assert same(state(tracker._model), state(trained(model, its, 3)))
    assert not same(state(model), state(train(model, its, 3)))


@pytest.mark.parametrize(
    ("options", "how"),
    [({}, {"records": 4}), ({}, {"criteria": ["random"]}), ({"recovery": Recovery(patience=1)}, {})],
)
def test_dynamics_refuses_unsupported_options(job, options, how):
    with pytest.raises(UsageError, match=r"records|patience"):
        dynamics.run_dynamics(job(**options), **{"epochs": 3, "records": 2, **how})


# The commands


@pytest.mark.parametrize(
    ("study", "options", "figures"),
    [
        ("initialisation", "--criteria nexp --epochs 1 --recovery-epochs 1", ["scores"]),
        ("activations", "--activations silu --epochs 1 --recovery-epochs 1", ["scores"]),
        ("dynamics", "--epochs 4 --records 2 --criteria ndi,l1 --batch-size 20", ["trajectories", "settling"]),
    ],
)
def test_the_commands_measure_and_write(place, tmp_path, study, options, figures):
    named = [
        f"py:{place / 'model.py'}:net",
        "--data",
        f"npz:{place / 'train.npz'}",
        "--test",
        f"npz:{place / 'test.npz'}",
    ]
    done = CliRunner().invoke(
        app, ["study", study, *named, *options.split(), "--seeds", "2", "--json", "--out", str(tmp_path)]
    )
    assert done.exception is None
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / f"{study}.json").read_text())
    assert printed["sentence"] in (tmp_path / f"{study}.md").read_text()
    assert "random" in printed["sentence"]
    assert {len(row) for row in printed["rows"]} == {len(printed["headers"])}
    assert {path.name for path in tmp_path.glob("*.svg")} == {f"{study}-{name}.svg" for name in figures}


def test_dynamics_table_is_what_was_measured(job):
    finding = dynamics.run_dynamics(job(batch_size=20), ["ndi", "l1"], seeds=2, epochs=2, records=2)
    assert finding.data["steps"] == [0, 3, 6]
    for name in ("ndi", "l1", "random"):
        courses = [its[name] for its in finding.data["rounds"]]
        row = next(row for row in finding.rows if row[:2] == [name, "all"])
        ends = [mean(its["mean"][group][-1] for group in its["mean"]) for its in courses]
        starts = [mean(its["correlation"][group][0] for group in its["mean"]) for its in courses]
        assert row[4] == f"{np.mean(ends):.3f} ± {np.std(ends, ddof=1):.3f}"
        assert row[5] == f"{np.mean(starts):.2f} ± {np.std(starts, ddof=1):.2f}"
