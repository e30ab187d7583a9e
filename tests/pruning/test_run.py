"""Runs that last: killed, stopped, out of space; they go on, and end as if nothing had happened."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.utils.data import DataLoader, TensorDataset

import secateurs as sc
from secateurs.errors import PersistError, UsageError
from secateurs.pruning.run.directory import Run

SCRIPT = """
import os, signal
from pathlib import Path
import torch
from torch import nn

class Net(nn.Sequential):
    def forward(self, x):
        if Path(os.environ.get("INTERRUPT_WHEN", "never")).exists():  # Control-C, at a moment that no clock decides
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(x)

def net():
    torch.manual_seed(0)
    return Net(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 12, 3),
                         nn.Dropout(0.1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2))
"""
OPTIONS = "--data npz:data.npz --test npz:data.npz --validation 0.2 --criterion taylor --budget macs:0.4 --rounds 3"
OPTIONS += " --ramp cubic --epochs-between 2 --epochs 6 --patience 4 --distill-weight 0.3"


def build():
    space = {}
    exec(SCRIPT, space)
    return space["net"]()


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(48, 3, 8, 8, generator=generator)
    return TensorDataset(x, (x.mean((1, 2, 3)) > 0).long())


def loader(dataset, seed=0):
    return DataLoader(dataset, 8, shuffle=True, generator=torch.Generator().manual_seed(seed))


class StoppedError(Exception):
    pass


def stopping(after):
    """A progress that raises when it has been asked for so many items."""
    left = [after]

    def progress(items, description):
        for item in items:
            left[0] -= 1
            if left[0] < 0:
                raise StoppedError(description)
            yield item

    return progress


def pruned(data, directory, progress=sc.utils.silent, **options):
    settings = {
        "criterion": "taylor", "budget": "macs:0.4", "seed": 3, "schedule": sc.Schedule(2, "cubic"),
        "between": sc.Recovery(epochs=1), "recovery": sc.Recovery(epochs=3, optimizer="adamw", lr=0.003),
        "measure": lambda model: {"accuracy": sc.accuracy(model, [data[:]])},
    }  # fmt: skip
    batches = [data[i : i + 12] for i in range(0, 48, 12)]
    settings |= {"training": loader(data), **options}
    return sc.prune(build(), batches, directory=directory, progress=progress, **settings)


def same(a, b):
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def reference(data, tmp_path_factory):
    return pruned(data, tmp_path_factory.mktemp("reference") / "run")


@pytest.mark.parametrize("after", [0, 1, 3, 5, 9, 12, 14, 16, 19, 23])
def test_wherever_it_stops_it_goes_on_to_the_same_end(data, reference, tmp_path, after):
    with pytest.raises(StoppedError):
        pruned(data, tmp_path / "run", stopping(after))
    again = pruned(data, tmp_path / "run")
    assert same(again.model, reference.model)
    assert again.plan == reference.plan
    assert again.rounds == reference.rounds
    assert all(torch.equal(again.scores[name], its) for name, its in reference.scores.items())


class Endless:
    def __iter__(self):
        while True:
            yield torch.zeros(4, 3, 8, 8), torch.zeros(4).long()


WHILE = {"schedule": sc.Schedule(3, "cubic", during_training=True), "between": None, "criterion": "ndi"}


@pytest.mark.parametrize("after", [0, 1, 2])
def test_pruning_during_training_goes_on_too(data, tmp_path, after):
    reference = pruned(data, None, **WHILE)
    assert [its.cost.macs for its in reference.rounds] == sorted({its.cost.macs for its in reference.rounds})[::-1]
    assert reference.rounds[-1].cost == reference.cost
    assert reference.cost.macs <= 0.4 * reference.dense_cost.macs
    with pytest.raises(StoppedError):
        pruned(data, tmp_path / "run", stopping(after), **WHILE)
    again = pruned(data, tmp_path / "run", **WHILE)
    assert same(again.model, reference.model)
    assert again.rounds == reference.rounds
    assert again.attributes == reference.attributes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recovery": None}, r"give recovery=Recovery"),
        ({"recovery": lambda model: None}, r"give recovery=Recovery"),
        ({"recovery": sc.Recovery(epochs=1, lora=2)}, "adapters"),
        ({"schedule": sc.Schedule(100, during_training=True)}, "100 rounds do not fit into 18 steps"),
        ({"training": Endless()}, "length"),
    ],
)
def test_what_cannot_be_cut_while_it_trains(data, options, message):
    with pytest.raises(UsageError, match=message):
        pruned(data, None, **{**WHILE, **options})


def test_without_a_directory_it_ends_the_same(data, reference):
    result = pruned(data, None)
    assert same(result.model, reference.model)
    assert result.plan == reference.plan
    assert result.rounds == reference.rounds
    assert result.attributes == reference.attributes


def test_what_a_directory_holds(data, tmp_path):
    result = pruned(data, tmp_path / "run")
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
    assert {name: len(its) for name, its in scores.items()} == result.rounds[0].widths


def test_a_finished_run_is_only_read(data, tmp_path):
    first = pruned(data, tmp_path / "run")
    second = pruned(data, tmp_path / "run", stopping(0))
    assert same(first.model, second.model)


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
def test_another_run_is_refused(data, tmp_path, change, named):
    with pytest.raises(StoppedError):
        pruned(data, tmp_path / "run", stopping(0))
    with pytest.raises(PersistError, match=rf"another run: {named} was"):
        pruned(data, tmp_path / "run", **change)


def test_other_directories_are_left_alone(data, tmp_path):
    (tmp_path / "thesis.txt").write_text("all my work")
    with pytest.raises(PersistError, match=r"holds thesis\.txt"):
        pruned(data, tmp_path)
    for overwrite in (False, True):
        with pytest.raises(PersistError, match=r"exists already|not a run"):
            Run.make_room(tmp_path, overwrite)
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistError, match="cannot be kept"):
        pruned(data, tmp_path / "file" / "run")
    assert (tmp_path / "thesis.txt").read_text() == "all my work"


def test_two_processes_do_not_share_a_directory(data, tmp_path):
    def intruding(model):
        with pytest.raises(PersistError, match="in use"):
            pruned(data, tmp_path / "run", measure=intruding)
        return {"accuracy": 0.5}

    pruned(data, tmp_path / "run", measure=intruding)


def test_altered_stages_are_refused(data, tmp_path):
    with pytest.raises(StoppedError):
        pruned(data, tmp_path / "run", stopping(8))
    latest = max((tmp_path / "run" / "stages").iterdir())
    weights = latest / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(PersistError, match="altered"):
        pruned(data, tmp_path / "run")


def test_a_function_of_ones_own_recovers(data):
    def fit(model):
        with torch.no_grad():
            model[8].bias.fill_(7)

    result = pruned(data, None, between=None, schedule=None, recovery=fit, measure=None)
    assert result.model[8].bias.tolist() == [7, 7]


def test_rounds_meet_their_budgets_and_weights_do_not_change_in_between(data):
    dense = build()
    seen = []

    def watch(model):
        seen.append({name: its.clone() for name, its in model.state_dict().items()})
        return {}

    batches = [data[i : i + 12] for i in range(0, 48, 12)]
    result = sc.prune(
        dense, batches, criterion="l1", budget="macs:0.4", schedule=sc.Schedule(3), compensate=False, measure=watch
    )
    macs = [its.cost.macs / result.dense_cost.macs for its in result.rounds]
    assert [share <= target for share, target in zip(macs, (0.8, 0.6, 0.4), strict=True)] == [True] * 3
    assert macs[0] > 0.6
    for its in seen:
        weights = {float(w) for w in its["3.weight"].flatten()}
        assert weights <= {float(w) for w in dense.state_dict()["3.weight"].flatten()}
    at_once = sc.apply(dense, result.plan, batches[0][0][:1])
    assert same(at_once, result.model)


def test_compensation_after_rounds_is_from_the_dense_model(data):
    dense, batches = build(), [data[:]]
    result = sc.prune(dense, batches, criterion="l1", budget="macs:0.5", schedule=sc.Schedule(3))
    small = sc.apply(dense, result.plan, batches[0][0][:2])
    sc.compensate(small, dense, result.plan, batches)
    assert all(torch.allclose(a, b) for a, b in zip(small.parameters(), result.model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": 3}, "Schedule"),
        ({"recovery": 3}, "Recovery"),
        ({"schedule": None}, "there is one round"),
        ({"measure": lambda model: 0.5}, "figures by name"),
    ],
)
def test_wrong_arguments(data, options, message):
    with pytest.raises(UsageError, match=message):
        pruned(data, None, **options)


# As the command line runs it.


@pytest.fixture(scope="module")
def place(data, tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    (place / "model.py").write_text(SCRIPT)
    x, y = data[:]
    np.savez(place / "data.npz", x=x.numpy(), y=y.numpy())
    assert secateurs(place, "prune", "py:model.py:net", *OPTIONS.split(), "--out", "whole").wait(120) == 0
    return place


def secateurs(place, *arguments, variables=None, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **(variables or {})}
    command = [sys.executable, "-m", "secateurs", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=place, env=environment, **pipes, **options)


def weights(directory):
    return (directory / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(place):
    events = [json.loads(line) for line in (place / "whole" / "log.jsonl").read_text().splitlines()]
    duration = sum(event.get("seconds", 0) for event in events)
    moments = random.Random(time.time_ns())
    killed, begin = 0, time.monotonic()
    command = ["prune", "py:model.py:net", *OPTIONS.split(), "--out", "killed"]
    log = place / "killed" / "log.jsonl"
    while True:
        before = log.stat().st_size if log.exists() else 0
        process = secateurs(place, *command)
        while process.poll() is None and not (log.exists() and log.stat().st_size > before):
            time.sleep(0.005)
        assert time.monotonic() - begin < 200
        try:
            process.wait(moments.uniform(0, duration / 2) if killed < 6 else 120)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            if (place / "killed" / "run.json").exists():
                command = ["prune", "--resume", "killed"]
    assert process.returncode == 0, process.stderr.read()
    assert killed
    assert weights(place / "killed") == weights(place / "whole")
    assert (place / "killed" / "model" / "plan.json").read_bytes() == (
        place / "whole" / "model" / "plan.json"
    ).read_bytes()
    reports = [json.loads((place / name / "report.json").read_text())["outcomes"][0] for name in ("whole", "killed")]
    assert reports[0]["quality"] == reports[1]["quality"]
    assert reports[0]["rounds"] == reports[1]["rounds"]


@pytest.mark.slow
def test_control_c_stops_with_a_hint(place):
    variables = {"INTERRUPT_WHEN": "stopped/stages/01-round-1"}
    process = secateurs(place, "prune", "py:model.py:net", *OPTIONS.split(), "--out", "stopped", variables=variables)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "secateurs prune --resume stopped" in errors
    assert "Traceback" not in errors
    done = secateurs(place, "prune", "--resume", "stopped", "--json")
    output, errors = done.communicate(timeout=120)
    assert done.returncode == 0, errors
    assert json.loads(output)["command"].startswith("secateurs prune py:model.py:net --data npz:data.npz")
    assert weights(place / "stopped") == weights(place / "whole")


@pytest.mark.slow
def test_no_space_left_is_said_and_loses_nothing(place):
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))  # less than the weights

    process = secateurs(place, "prune", "py:model.py:net", *OPTIONS.split(), "--out", "full", preexec_fn=small)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3, errors
    assert "PersistError" in errors
    assert "Traceback" not in errors
    assert (place / "full" / "run.json").exists()
    done = secateurs(place, "prune", "--resume", "full", "--quiet")
    output, errors = done.communicate(timeout=120)
    assert (done.returncode, output) == (0, ""), errors
    assert weights(place / "full") == weights(place / "whole")


@pytest.mark.slow
def test_resume_takes_nothing_else(place):
    process = secateurs(place, "prune", "--resume", "whole", "--budget", "macs:0.3")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "leave out budget" in errors
    process = secateurs(place, "prune", "--resume", "nowhere")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "not a run's directory" in errors


@pytest.mark.slow
def test_under_torchrun_all_processes_come_to_one_model(place):
    options = "--data npz:data.npz --test npz:data.npz --criterion taylor --budget macs:0.5 --batch-size 8 --epochs 2"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "secateurs",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    together = [*command, "prune", "py:model.py:net", *options.split(), "--out", "both", "--json"]
    done = subprocess.run(together, cwd=place, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["outcomes"][0]  # of one process alone, or this would not be JSON
    alone = secateurs(place, "prune", "py:model.py:net", *options.split(), "--out", "one", "--json")
    expected = json.loads(alone.communicate(timeout=100)[0])["outcomes"][0]
    assert found["keep"] == expected["keep"]
    assert found["quality"]["cut"] == expected["quality"]["cut"]
    assert sc.load(place / "both" / "model", build)
    assert [event["event"] for event in map(json.loads, (place / "both" / "log.jsonl").open())].count("new") == 1


def test_what_training_lacks_is_said_before_anything_is_done(data, tmp_path):
    with pytest.raises(UsageError, match="patience=2 needs validation data"):
        pruned(data, tmp_path / "run", recovery=sc.Recovery(epochs=3, patience=2))
    assert not (tmp_path / "run").exists()
