"""Interrupted runs: they are resumed from their directory and give the same model."""

import json

import pytest
import safetensors.torch
import torch
from support.interruptions import StoppedError, stop_after
from support.runs import DURING_TRAINING, labelled_images, prune_in_stages
from support.states import equal_states

import secateurs as sc
from secateurs.errors import PersistError
from secateurs.pruning.run.directory import Run


@pytest.fixture(scope="module")
def data():
    return labelled_images()


@pytest.fixture(scope="module")
def reference(data, tmp_path_factory):
    return prune_in_stages(data, tmp_path_factory.mktemp("reference") / "run")


@pytest.mark.parametrize("after", [0, 1, 3, 5, 9, 12, 14, 16, 19, 23])
def test_an_interrupted_run_ends_with_the_same_model(data, reference, tmp_path, after):
    with pytest.raises(StoppedError):
        prune_in_stages(data, tmp_path / "run", stop_after(after))
    again = prune_in_stages(data, tmp_path / "run")
    assert equal_states(again.model, reference.model)
    assert again.plan == reference.plan
    assert again.rounds == reference.rounds
    assert equal_states(again.scores, reference.scores)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_interrupted_pruning_during_training_ends_with_the_same_model(data, tmp_path, after):
    reference = prune_in_stages(data, None, **DURING_TRAINING)
    macs = [result.cost.macs for result in reference.rounds]
    assert macs == sorted(set(macs), reverse=True)
    assert reference.rounds[-1].cost == reference.cost
    assert reference.cost.macs <= 0.4 * reference.dense_cost.macs
    with pytest.raises(StoppedError):
        prune_in_stages(data, tmp_path / "run", stop_after(after), **DURING_TRAINING)
    again = prune_in_stages(data, tmp_path / "run", **DURING_TRAINING)
    assert equal_states(again.model, reference.model)
    assert again.rounds == reference.rounds
    assert again.attributes == reference.attributes


def test_a_run_without_a_directory_gives_the_same_model(data, reference):
    result = prune_in_stages(data, None)
    assert equal_states(result.model, reference.model)
    assert result.plan == reference.plan
    assert result.rounds == reference.rounds
    assert result.attributes == reference.attributes


def test_a_run_directory_holds_the_record_the_log_and_the_stages(data, tmp_path):
    result = prune_in_stages(data, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["schedule"] == {"rounds": 2, "ramp": "cubic", "during_training": False}
    assert record["settings"]["seed"] == 3
    assert record["versions"]["torch"] == torch.__version__
    events = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    finished = [event["stage"] for event in events if event["event"] == "finished"]
    order = "01-round-1 02-recalibration-1 03-recovery-1 04-round-2 05-recalibration 06-recovery"
    assert finished == order.split()
    assert sorted(path.name for path in (tmp_path / "run" / "stages").iterdir()) == finished
    assert len(list((tmp_path / "run").rglob("model.safetensors"))) == 1
    assert not (tmp_path / "run" / "work").exists()
    assert events[-1]["measured"] == result.measured
    scores = safetensors.torch.load_file(tmp_path / "run" / "stages" / "04-round-2" / "scores.safetensors")
    assert {name: len(values) for name, values in scores.items()} == result.rounds[0].widths


def test_a_finished_run_is_read_and_not_repeated(data, tmp_path):
    first = prune_in_stages(data, tmp_path / "run")
    second = prune_in_stages(data, tmp_path / "run", stop_after(0))
    assert equal_states(first.model, second.model)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"budget": "macs:0.5"}, "budget"),
        ({"seed": 4}, "seed"),
        ({"recovery": sc.Recovery(epochs=4)}, "recovery"),
        ({"recovery": lambda model: None}, "recovery"),
        ({"keep": ("3",)}, "keep"),
        ({"training": [(torch.zeros(4, 3, 8, 8), torch.zeros(4).long())]}, "training"),
    ],
)
def test_resuming_with_other_settings_is_refused_by_name(data, tmp_path, change, named):
    with pytest.raises(StoppedError):
        prune_in_stages(data, tmp_path / "run", stop_after(0))
    with pytest.raises(PersistError, match=rf"another run: {named} was"):
        prune_in_stages(data, tmp_path / "run", **change)


def test_directories_of_other_content_are_refused_and_unchanged(data, tmp_path):
    (tmp_path / "thesis.txt").write_text("all my work")
    with pytest.raises(PersistError, match=r"contains thesis\.txt"):
        prune_in_stages(data, tmp_path)
    for overwrite in (False, True):
        with pytest.raises(PersistError, match=r"exists already|not a run"):
            Run.prepare(tmp_path, overwrite)
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistError, match="cannot be stored"):
        prune_in_stages(data, tmp_path / "file" / "run")
    assert (tmp_path / "thesis.txt").read_text() == "all my work"


def test_a_directory_in_use_is_refused(data, tmp_path):
    refusals = []

    def intruding(model):
        with pytest.raises(PersistError, match="in use") as refusal:
            prune_in_stages(data, tmp_path / "run", measure=intruding)
        refusals.append(refusal)
        return {"accuracy": 0.5}

    prune_in_stages(data, tmp_path / "run", measure=intruding)
    assert refusals


def test_altered_stages_are_refused(data, tmp_path):
    with pytest.raises(StoppedError):
        prune_in_stages(data, tmp_path / "run", stop_after(8))
    latest = max((tmp_path / "run" / "stages").iterdir())
    weights = latest / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(PersistError, match="altered"):
        prune_in_stages(data, tmp_path / "run")
