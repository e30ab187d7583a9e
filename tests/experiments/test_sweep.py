"""Sweeps: every cell alike, controls always there, and what fails harms nothing else."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from support.jobs import make_job

from secateurs.errors import CriterionError, PersistError, UsageError
from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.run_job import run_job
from secateurs.experiments.summary import measure
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import on_ray, on_this_machine
from secateurs.training.recipe import Recovery
from secateurs.utils.progress import silent

pytestmark = pytest.mark.slow  # starts processes

SCRIPT = """
import os, signal
from pathlib import Path
from torch import nn

def net():  # not seeded: all cells must start from the same weights nevertheless
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 2))

def dying():
    here = Path("asked")
    here.write_text(here.read_text() + "." if here.exists() else ".")
    if len(here.read_text()) == 2:  # the first of the workers; the first of all is the parent
        os.kill(os.getpid(), signal.SIGKILL)
    return net()
"""


def furnished(directory):
    (directory / "model.py").write_text(SCRIPT)
    x = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
    np.savez(directory / "data.npz", x=x, y=(x.sum(1) > 0).astype("int64"))
    return directory


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return furnished(tmp_path)


def job(factory="net", **options):
    settings = {"samples": 40, "batch_size": 20, "recovery": Recovery(epochs=1), **options}
    return make_job(f"py:model.py:{factory}", "npz:data.npz", test="npz:data.npz", **settings)


def compare(place, sweep, execute=None, **options):
    return sweep.run(place / "out", execute or on_this_machine(2), silent, "secateurs compare ...", **options)


def test_controls_are_always_there():
    assert Sweep(job(), ("nexp", "l1"), ("macs:0.5",), 1).rows == ["nexp", "l1", "random"]
    assert Sweep(job(), ("ssi",), ("macs:0.5",), 1).rows == ["ssi", "reversed-ssi", "l1", "random"]
    rows = Sweep(job(), ("0.5*ssi-literal+0.5*l2",), ("macs:0.5",), 1).rows
    assert rows == ["0.5*ssi-literal+0.5*l2", "reversed-ssi-literal", "l1", "random"]


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        place = furnished(tmp_path_factory.mktemp("swept"))
        patch.chdir(place)
        sweep = Sweep(job(), ("nexp",), ("macs:0.7", "keep:0.5"), 2)
        return place, sweep, compare(place, sweep)


@pytest.fixture
def swept(once, monkeypatch):
    monkeypatch.chdir(once[0])
    return once


def test_a_sweep_is_its_runs(swept):
    place, sweep, found = swept
    cells = {(its.criterion, its.budget, its.seed) for its in found.outcomes}
    assert len(found.outcomes) == len(cells) == 3 * 2 * 2
    assert not found.failed
    for cell in sweep.cells(place / "out")[::5]:
        (its,) = [o for o in found.outcomes if (o.criterion, o.budget, o.seed) == (
            cell.job.config.criterion.name, str(cell.job.config.budget), cell.job.config.seed)]  # fmt: skip
        alone, _ = run_job(cell.job, place / "alone" / cell.name.replace(" ", "-"), silent, "")
        assert alone.plan.keep == {name: tuple(kept) for name, kept in its.keep.items()}
        assert alone.measured["recovered"]["accuracy"] == its.quality["recovered"]
    dense = {json.loads((cell.report).read_text())["quality"] for cell in sweep.cells(place / "out")}
    assert dense == {found.quality} == {json.loads((place / "out" / "dense.json").read_text())["accuracy"]}


def test_the_dense_model_is_measured_once(place, monkeypatch):
    sizes = []

    def counting(test):
        return lambda model: [sizes.append(sum(p.numel() for p in model.parameters())), measure(test)(model)][1]

    monkeypatch.setattr("secateurs.experiments.sweep.measure", counting)
    monkeypatch.setattr(sys.modules["secateurs.experiments.run_job"], "measure", counting)
    sweep = Sweep(job(recovery=None), ("l2",), ("macs:0.5",), 1)
    found = compare(place, sweep, lambda cells: ((cell, cell.run(1)) for cell in cells))
    assert len(found.outcomes) == 3
    assert sizes.count(max(sizes)) == 1  # all others are smaller
    _, alone = run_job(sweep.cells(place / "out")[0].job, place / "alone", silent, "")
    assert sizes.count(max(sizes)) == 2
    assert (alone.quality, alone.loss) == (found.quality, found.loss)


def test_what_a_sweep_writes(swept):
    place, _, found = swept
    assert json.dumps(Comparison.load(place / "out" / "report.json").as_dict()) == json.dumps(found.as_dict())
    with (place / "out" / "table.csv").open() as file:
        records = [record for record in csv.DictReader(file) if record["stage"] != "dense"]
    stages = {record["stage"] for record in records}
    assert len(records) == 3 * 2 * 2 * len(stages)
    assert "recovered" in stages
    for name in ("report.html", "report.md", "table.json", "sweep.json"):
        assert (place / "out" / name).exists()


def test_what_is_finished_is_not_run_again(swept):
    place, sweep, found = swept

    def nothing(cells):
        assert not cells
        yield from ()

    assert compare(place, sweep, nothing).outcomes == found.outcomes
    gone = sweep.cells(place / "out")[3]
    gone.report.unlink()

    def only_that(cells):
        assert [cell.name for cell in cells] == [gone.name]
        yield from on_this_machine(1)(cells)

    again = compare(place, sweep, only_that)
    assert [its.keep for its in again.outcomes] == [its.keep for its in found.outcomes]
    assert [its.quality for its in again.outcomes] == [its.quality for its in found.outcomes]
    with pytest.raises(PersistError, match="another comparison"):
        compare(place, dataclasses.replace(sweep, seeds=3))
    assert Sweep.begun(place / "out") == ("secateurs compare ...", sweep)


def test_a_cell_that_fails_harms_no_other(place):
    sweep = Sweep(job(), ("hrank",), ("macs:0.5",), 1)  # there are no maps in this model
    found = compare(place, sweep)
    assert {its.criterion for its in found.outcomes} == {"l1", "random"}
    assert list(found.failed) == ["hrank macs:0.5 seed 0"]
    assert "hrank" in found.failed["hrank macs:0.5 seed 0"]
    assert "hrank" in (place / "out" / "report.html").read_text()


def test_a_process_that_dies_is_tried_again(place):
    sweep = Sweep(job("dying"), ("l2",), ("macs:0.5",), 1)
    found = compare(place, sweep, on_this_machine(1), retries=0)
    (error,) = found.failed.values()
    assert "signal 9" in error
    found = compare(place, sweep, on_this_machine(1))
    assert not found.failed
    assert len(found.outcomes) == 3


def test_nothing_begins_that_cannot_end(place):
    with pytest.raises(CriterionError, match="nexpp"):
        compare(place, Sweep(job(), ("nexpp",), ("macs:0.5",), 1))
    assert not (place / "out").exists()
    with pytest.raises(UsageError, match="every cell failed"):
        compare(place, Sweep(job(keep=("0", "2")), ("l2",), ("macs:0.5",), 1), retries=0)
    for empty in ({"criteria": ()}, {"budgets": ()}, {"seeds": 0}):
        with pytest.raises(UsageError, match="at least one"):
            Sweep(**{"job": job(), "criteria": ("l2",), "budgets": ("macs:0.5",), "seeds": 1, **empty})
    with pytest.raises(UsageError, match="worker"):
        on_this_machine(0)
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").write_text("")
    with pytest.raises(PersistError, match="exists already"):
        Sweep(job(), ("l2",), ("macs:0.5",), 1).run(place / "mine", on_this_machine(1), silent, "")


def test_on_a_ray_cluster(swept):
    pytest.importorskip("ray", reason="Ray is not installed (pip install secateurs[ray])")
    place, sweep, found = swept
    there = sweep.run(place / "ray", on_ray(), silent, "")
    assert [its.keep for its in there.outcomes] == [its.keep for its in found.outcomes]


def test_the_command(place):
    arguments = "compare py:model.py:net --data npz:data.npz --test npz:data.npz --criteria hrank,l2 --budgets macs:0.5"
    command = [sys.executable, "-m", "secateurs", *arguments.split(), "--seeds", "1", "--out", "told"]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 4, done.stderr
    assert "Failed: hrank macs:0.5 seed 0" in done.stdout
    resumed = [*command[:3], "compare", "--resume", "told", "--json"]
    done = subprocess.run(resumed, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 4, done.stderr
    found = json.loads(done.stdout)
    assert {its["criterion"] for its in found["outcomes"]} == {"l2", "l1", "random"}
    assert found["command"].startswith("secateurs compare py:model.py:net")


def begun(place):
    """A comparison that would take long, once it is under way; a session of its own."""
    arguments = (
        "compare py:model.py:net --data npz:data.npz --test npz:data.npz --criteria l2 --epochs 4000 --out stopped"
    )
    command = [sys.executable, "-m", "secateurs", *arguments.split(), "--batch-size", "4"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, env={**os.environ, "COLUMNS": "200"}, **pipes)
    wait_for(lambda: list((place / "stopped").glob("cells/*/stages/*")))
    return process


def wait_for(condition, seconds=300):
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds
        time.sleep(0.05)


def running(session):
    """The processes of a session."""
    live = (its for its in psutil.process_iter() if its.status() != psutil.STATUS_ZOMBIE)
    return [its for its in live if os.getsid(its.pid) == session]


def test_whoever_is_killed_takes_the_workers_along(place):
    process = begun(place)
    assert len(running(process.pid)) > 2
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not running(process.pid))


def test_control_c_stops_all_processes_and_says_how_to_go_on(place):
    process = begun(place)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.strip() == "Stopped. To continue: secateurs compare --resume stopped"
    logs = [path.read_text() for path in (place / "stopped").glob("cells/*/log.jsonl")]
    time.sleep(1)
    assert [path.read_text() for path in (place / "stopped").glob("cells/*/log.jsonl")] == logs
    assert not (place / "stopped" / "report.html").exists()
