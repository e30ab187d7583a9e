"""Sweeps: equal cells, controls, cells that fail, and sweeps that are resumed."""

import csv
import dataclasses
import json
import sys

import pytest
from support.sweeps import sweep_job, write_sweep_files

from secateurs.errors import CriterionError, PersistError, UsageError
from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.run_job import run_job
from secateurs.experiments.summary import measure
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import on_ray, on_this_machine
from secateurs.utils.progress import silent

pytestmark = pytest.mark.slow  # starts processes


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A directory with models and data, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return write_sweep_files(tmp_path)


def compare(directory, sweep, execute=None, **options):
    return sweep.run(directory / "out", execute or on_this_machine(2), silent, "secateurs compare ...", **options)


def test_controls_are_added_to_the_criteria():
    assert Sweep(sweep_job(), ("nexp", "l1"), ("macs:0.5",), 1).rows == ["nexp", "l1", "random"]
    assert Sweep(sweep_job(), ("ssi",), ("macs:0.5",), 1).rows == ["ssi", "reversed-ssi", "l1", "random"]
    rows = Sweep(sweep_job(), ("0.5*ssi-literal+0.5*l2",), ("macs:0.5",), 1).rows
    assert rows == ["0.5*ssi-literal+0.5*l2", "reversed-ssi-literal", "l1", "random"]


@pytest.fixture(scope="module")
def finished_sweep(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        directory = write_sweep_files(tmp_path_factory.mktemp("swept"))
        patch.chdir(directory)
        sweep = Sweep(sweep_job(), ("nexp",), ("macs:0.7", "keep:0.5"), 2)
        return directory, sweep, compare(directory, sweep)


@pytest.fixture
def swept(finished_sweep, monkeypatch):
    """The directory, the sweep and the result of a finished sweep."""
    monkeypatch.chdir(finished_sweep[0])
    return finished_sweep


def test_each_cell_equals_a_run_of_its_own(swept):
    directory, sweep, comparison = swept
    cells = {(outcome.criterion, outcome.budget, outcome.seed) for outcome in comparison.outcomes}
    assert len(comparison.outcomes) == len(cells) == 3 * 2 * 2
    assert not comparison.failed
    for cell in sweep.cells(directory / "out")[::5]:
        (outcome,) = [o for o in comparison.outcomes if (o.criterion, o.budget, o.seed) == (
            cell.job.config.criterion.name, str(cell.job.config.budget), cell.job.config.seed)]  # fmt: skip
        alone, _ = run_job(cell.job, directory / "alone" / cell.name.replace(" ", "-"), silent, "")
        assert alone.plan.keep == {name: tuple(kept) for name, kept in outcome.keep.items()}
        assert alone.measured["recovered"]["accuracy"] == outcome.quality["recovered"]
    dense = {json.loads((cell.report).read_text())["quality"] for cell in sweep.cells(directory / "out")}
    assert dense == {comparison.quality} == {json.loads((directory / "out" / "dense.json").read_text())["accuracy"]}


def test_the_dense_model_is_measured_once(directory, monkeypatch):
    sizes = []

    def counting(test):
        return lambda model: [sizes.append(sum(p.numel() for p in model.parameters())), measure(test)(model)][1]

    monkeypatch.setattr("secateurs.experiments.sweep.measure", counting)
    monkeypatch.setattr(sys.modules["secateurs.experiments.run_job"], "measure", counting)
    sweep = Sweep(sweep_job(recovery=None), ("l2",), ("macs:0.5",), 1)
    comparison = compare(directory, sweep, lambda cells: ((cell, cell.run(1)) for cell in cells))
    assert len(comparison.outcomes) == 3
    assert sizes.count(max(sizes)) == 1  # all others are smaller
    _, alone = run_job(sweep.cells(directory / "out")[0].job, directory / "alone", silent, "")
    assert sizes.count(max(sizes)) == 2
    assert (alone.quality, alone.loss) == (comparison.quality, comparison.loss)


def test_a_sweep_writes_reports_and_tables(swept):
    directory, _, comparison = swept
    assert json.dumps(Comparison.load(directory / "out" / "report.json").as_dict()) == json.dumps(comparison.as_dict())
    with (directory / "out" / "table.csv").open() as file:
        records = [record for record in csv.DictReader(file) if record["stage"] != "dense"]
    stages = {record["stage"] for record in records}
    assert len(records) == 3 * 2 * 2 * len(stages)
    assert "recovered" in stages
    for name in ("report.html", "report.md", "table.json", "sweep.json"):
        assert (directory / "out" / name).exists()


def test_finished_cells_are_not_run_again(swept):
    directory, sweep, comparison = swept

    def run_nothing(cells):
        assert not cells
        yield from ()

    assert compare(directory, sweep, run_nothing).outcomes == comparison.outcomes
    missing = sweep.cells(directory / "out")[3]
    missing.report.unlink()

    def run_missing(cells):
        assert [cell.name for cell in cells] == [missing.name]
        yield from on_this_machine(1)(cells)

    again = compare(directory, sweep, run_missing)
    assert [outcome.keep for outcome in again.outcomes] == [outcome.keep for outcome in comparison.outcomes]
    assert [outcome.quality for outcome in again.outcomes] == [outcome.quality for outcome in comparison.outcomes]
    with pytest.raises(PersistError, match="another comparison"):
        compare(directory, dataclasses.replace(sweep, seeds=3))
    assert Sweep.stored(directory / "out") == ("secateurs compare ...", sweep)


def test_a_failed_cell_does_not_affect_the_others(directory):
    sweep = Sweep(sweep_job(), ("hrank",), ("macs:0.5",), 1)  # this model has no feature maps
    comparison = compare(directory, sweep)
    assert {outcome.criterion for outcome in comparison.outcomes} == {"l1", "random"}
    assert list(comparison.failed) == ["hrank macs:0.5 seed 0"]
    assert "hrank" in comparison.failed["hrank macs:0.5 seed 0"]
    assert "hrank" in (directory / "out" / "report.html").read_text()


def test_a_killed_worker_is_retried(directory):
    sweep = Sweep(sweep_job("dying"), ("l2",), ("macs:0.5",), 1)
    comparison = compare(directory, sweep, on_this_machine(1), retries=0)
    (error,) = comparison.failed.values()
    assert "signal 9" in error
    comparison = compare(directory, sweep, on_this_machine(1))
    assert not comparison.failed
    assert len(comparison.outcomes) == 3


def test_invalid_sweeps_are_refused(directory):
    with pytest.raises(CriterionError, match="nexpp"):
        compare(directory, Sweep(sweep_job(), ("nexpp",), ("macs:0.5",), 1))
    assert not (directory / "out").exists()
    with pytest.raises(UsageError, match="every cell failed"):
        compare(directory, Sweep(sweep_job(keep=("0", "2")), ("l2",), ("macs:0.5",), 1), retries=0)
    for empty in ({"criteria": ()}, {"budgets": ()}, {"seeds": 0}):
        with pytest.raises(UsageError, match="at least one"):
            Sweep(**{"job": sweep_job(), "criteria": ("l2",), "budgets": ("macs:0.5",), "seeds": 1, **empty})
    with pytest.raises(UsageError, match="worker"):
        on_this_machine(0)
    (directory / "mine").mkdir()
    (directory / "mine" / "thesis.txt").write_text("")
    with pytest.raises(PersistError, match="exists already"):
        Sweep(sweep_job(), ("l2",), ("macs:0.5",), 1).run(directory / "mine", on_this_machine(1), silent, "")


def test_a_ray_cluster_gives_the_same_results(swept):
    pytest.importorskip("ray", reason="Ray is not installed (pip install secateurs[ray])")
    directory, sweep, comparison = swept
    on_cluster = sweep.run(directory / "ray", on_ray(), silent, "")
    assert [outcome.keep for outcome in on_cluster.outcomes] == [outcome.keep for outcome in comparison.outcomes]
