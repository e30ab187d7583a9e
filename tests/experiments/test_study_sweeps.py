"""Studies of mixtures, β and schedules: runs, tables, commands, and refused arguments."""

import json
from dataclasses import replace
from statistics import mean

import pytest
from support.studied import named

from secateurs.errors import SecateursError, UsageError
from secateurs.experiments.studies.beta import run_beta
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.hybrid import run_hybrid
from secateurs.experiments.studies.schedule import run_schedule
from secateurs.experiments.studies.variants import Variant
from secateurs.training.recipe import Recovery

AUTO = "auto*l1+auto*nexp"
MIXTURES = {0: "1*l1+0*nexp", 0.5: "0.5*l1+0.5*nexp", 1: "0*l1+1*nexp"}


@pytest.fixture
def job(tmp_path):
    return named(tmp_path).with_config(recovery=Recovery(epochs=2))


@pytest.fixture
def without_pages(monkeypatch):
    """Disables time measurements and pages in this process."""
    monkeypatch.setattr("secateurs.experiments.summary.latencies", lambda models, _: [0.0] * len(models))
    monkeypatch.setattr("secateurs.experiments.report.page.render_page", lambda _: "")


def run_in_process(cells):
    """Run cells one after the other in this process."""
    return ((cell, cell.run(1)) for cell in cells)


def run_nothing(cells):
    """Check that every cell is finished."""
    assert not cells
    return iter(())


def test_a_hybrid_study_needs_two_criteria_two_alphas_and_test_data(job, tmp_path):
    for parts, alphas in ((("l1",), (0, 1)), (("l1", "nexp"), (0.5,))):
        with pytest.raises(UsageError, match="two criteria"):
            run_hybrid(job, tmp_path / "new", run_in_process, parts, alphas)
    with pytest.raises(SecateursError, match="alpha"):
        run_hybrid(job, tmp_path / "new", run_in_process, alphas=(0, 2))
    with pytest.raises(UsageError, match="--test"):
        run_hybrid(replace(job, test=""), tmp_path / "new", run_in_process)


@pytest.mark.slow
def test_the_beta_table_follows_from_the_reported_data(job, tmp_path, without_pages):
    finding = run_beta(job, tmp_path / "new", run_in_process, ("l1",), (0.5, 1), seeds=2)
    for criterion in ("l1", "random"):
        row = next(row for row in finding.rows if row[:2] == [criterion, "0.5"])
        cell = {"criterion": criterion, "budget": "effective:0.5"}
        kept = [record["kept"] for record in finding.data["kept"] if cell.items() <= record.items()]
        assert row[2].startswith(f"{100 * mean(kept):.1f}")
        cell["stage"] = "recovered"
        accuracies = [record["accuracy"] for record in finding.data["records"] if cell.items() <= record.items()]
        assert row[4].startswith(f"{100 * mean(accuracies):.1f}")
    assert [row[0] for row in finding.rows[:2]] == ["dense", "l1"]
    assert set(finding.data["cliffs"]["cut"]) == {"l1", "random"}


@pytest.mark.slow
def test_the_hybrid_study_runs_mixtures_parts_and_random_and_resumes(job, tmp_path, without_pages):
    finding = run_hybrid(job, tmp_path / "new", run_in_process, alphas=(1, 0), seeds=1)
    assert [row[0] for row in finding.rows] == ["dense", MIXTURES[0], MIXTURES[1], AUTO, "l1", "nexp", "random"]
    assert "is the best" in finding.sentence
    again = run_hybrid(job, tmp_path / "new", run_nothing, alphas=(0, 1), seeds=1)
    assert again.figures == finding.figures


@pytest.mark.slow
def test_schedules_start_from_the_same_weights_and_are_resumed(job, tmp_path, without_pages):
    file = tmp_path / "model.py"
    file.write_text(file.read_text().replace("torch.manual_seed(0)", "pass"))  # new weights each time it is built
    finding = run_schedule(job, tmp_path / "new", run_in_process, ("l1",), [2], seeds=1)
    cell = {"criterion": "l1", "stage": "cut"}.items()
    cut = {record["schedule"]: record["accuracy"] for record in finding.data["records"] if cell <= record.items()}
    assert set(cut) == {"one shot", "2 rounds", "2 rounds, trained between"}
    assert cut["one shot"] == cut["2 rounds"]  # the l1 scores of the remaining units do not change
    again = run_schedule(job, tmp_path / "new", run_nothing, ("l1",), [2], seeds=1)
    assert again.rows == finding.rows


def test_schedules_that_cannot_be_compared_are_refused(job, tmp_path):
    for changes, rounds, message in (({}, [4], "divided among"), ({}, [1], "≥ 2"), ({"fit": "py:f.py:f"}, [2], "fit")):
        with pytest.raises(UsageError, match=message):
            run_schedule(replace(job, **changes), tmp_path / "new", run_in_process, rounds=rounds)
    assert not (tmp_path / "new").exists()


def test_a_variant_changes_nothing_but_the_schedule(job):
    variant = Variant(2, 1, 1).of(job)
    assert (variant.config.schedule.rounds, variant.config.between.epochs, variant.config.recovery.epochs) == (2, 1, 1)
    assert variant.with_config(schedule=job.config.schedule, between=None, recovery=job.config.recovery) == job


@pytest.mark.slow
def test_the_command_writes_prints_and_resumes(job, tmp_path, monkeypatch, run):
    files = f"--data {job.data} --test {job.test} --epochs 0 --seeds 1 --out {tmp_path / 'new'}".split()
    options = ["study", "beta", job.model, *files, "--criteria", "l1", "--betas", "1"]
    out = run(*options).out
    written = json.loads((tmp_path / "new" / "beta.json").read_text())
    assert written["sentence"] in out
    assert "](beta-accuracy.svg)" in (tmp_path / "new" / "beta.md").read_text()
    monkeypatch.setattr("secateurs.experiments.workers._run_in_process", lambda *_: pytest.fail("run again"))
    assert json.loads(run(*options, "--json").out)["rows"] == written["rows"]
    assert "another comparison" in run(*options, "--seeds", "2", code=3).err


def test_the_command_states_how_to_resume_and_fails_if_runs_failed(job, tmp_path, monkeypatch, run):
    def stop(*_):
        raise KeyboardInterrupt

    options = f"{job.model} --data {job.data} --test {job.test} --out {tmp_path / 'new'}".split()
    monkeypatch.setattr("secateurs.cli.studies.sweeps.run_beta", stop)
    errors = run("study", "beta", *options, code=130).err
    assert f"To continue: secateurs study beta {' '.join(options)}" in errors
    finding = Finding("beta", "", "Found.", ["one"], [["1"]], {"failed": {"l1": "why"}}, "")
    monkeypatch.setattr("secateurs.cli.studies.sweeps.run_beta", lambda *_: finding)
    run("study", "beta", *options, code=4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("beta --betas 0", 3, "budget"),
        ("beta --betas some", 2, "not a list of numbers"),
        ("schedule --rounds 2,x", 2, "whole numbers"),
        ("schedule --epochs 3", 3, "divided among"),
        ("hybrid --criteria l1,nxep", 3, "nxep"),
    ],
)
def test_the_commands_refuse_invalid_arguments(arguments, code, message, job, tmp_path, run):
    options = f"--data {job.data} --test {job.test} --out {tmp_path / 'new'}"
    study, *others = arguments.split()
    assert message in run("study", study, job.model, *options.split(), *others, code=code).err
