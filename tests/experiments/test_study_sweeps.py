"""Studies that prune many times: mixtures, β and schedules. Their sentences and tables against made-up figures."""

import json
import sys
from dataclasses import replace
from math import inf
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.studied import named

from secateurs import cli
from secateurs.errors import SecateursError, UsageError
from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.outcome import Outcome
from secateurs.experiments.studies import beta as betas
from secateurs.experiments.studies import hybrid as hybrids
from secateurs.experiments.studies import schedule_finding as schedules
from secateurs.experiments.studies.beta import cliff, run_beta
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.hybrid import run_hybrid
from secateurs.experiments.studies.schedule import run_schedule
from secateurs.experiments.studies.variants import Variant, variants
from secateurs.experiments.summary import PERPLEXITY
from secateurs.structure.cost import Cost
from secateurs.training.recipe import Recovery

AUTO = "auto*l1+auto*nexp"


@pytest.fixture
def job(tmp_path):
    return named(tmp_path).with_config(recovery=Recovery(epochs=2))


@pytest.fixture
def quick(monkeypatch):
    """Runs in this process take no times and draw no pages."""
    monkeypatch.setattr("secateurs.experiments.summary.latencies", lambda models, _: [0.0] * len(models))
    monkeypatch.setattr("secateurs.experiments.report.page.render_page", lambda _: "")


def here(cells):
    """Runs cells one after the other, in this process."""
    return ((cell, cell.run(1)) for cell in cells)


def refuse(cells):
    """Runs nothing, since everything has been run."""
    assert not cells
    return iter(())


def comparison(qualities, budget="macs:0.5", keep=range(5)):
    """A comparison of models with these accuracies, after the cut and recovered, one pair per seed."""
    outcomes = [
        Outcome(name, budget, seed, Cost(50, 50), None, {"cut": cut, "recovered": end}, {"a": list(keep)})
        for name, pairs in qualities.items()
        for seed, (cut, end) in enumerate(pairs)
    ]
    return Comparison("", "", Cost(100, 100), {"a": 10}, {}, outcomes, "", quality=0.95)


MIXTURES = {0: "1*l1+0*nexp", 0.5: "0.5*l1+0.5*nexp", 1: "0*l1+1*nexp"}


def mixed(middle, end=(0.6, 0.8)):
    names = [MIXTURES[0], MIXTURES[1], "l1", "nexp", "random", AUTO]
    return comparison({MIXTURES[0.5]: [middle] * 2, **dict.fromkeys(names, [end] * 2)})


def test_the_hybrid_sentence_compares_the_best_mixture_with_its_parts_and_random():
    text = hybrids.sentence(mixed((0.7, 0.7)), MIXTURES, ("l1", "nexp"), AUTO)
    assert "Right after the cut, α = 0.5 is the best of the sweep with 70.0 ± 0.0 %" in text
    assert "10.0 ± 0.0 points above l1" in text
    assert "points above random" in text
    assert "recovered, α = 0 (no mixture) is the best" in text
    assert "level with nexp" in text


def test_a_hybrid_study_needs_two_criteria_two_alphas_and_test_data(job, tmp_path):
    for parts, alphas in ((("l1",), (0, 1)), (("l1", "nexp"), (0.5,))):
        with pytest.raises(UsageError, match="two criteria"):
            run_hybrid(job, tmp_path / "new", here, parts, alphas)
    with pytest.raises(SecateursError, match="alpha"):
        run_hybrid(job, tmp_path / "new", here, alphas=(0, 2))
    with pytest.raises(UsageError, match="--test"):
        run_hybrid(replace(job, test=""), tmp_path / "new", here)


@given(st.floats(0.1, 0.9), st.floats(0, 3), st.floats(0.1, 4))
def test_the_cliff_is_the_corner_of_two_straight_lines(corner, above, rise):
    shares = {factor: factor * corner for factor in (0.25, 0.5, 0.75, 1.0)} | {1.5: corner + (1 - corner) / 2, inf: 1.0}
    accuracy = {f: 1 - above * (1 - s) - rise * max(corner - s, 0) for f, s in shares.items()}
    points = [(factor, share, accuracy[factor]) for factor, share in shares.items()]
    assert cliff(points) == 1.0
    assert cliff([*points[::-1], (4.0, 1.0, accuracy[inf])]) == 1.0  # β = 4 keeps all as well


def test_there_is_no_cliff_if_the_loss_per_unit_never_rises():
    assert cliff([(0.5, 0.3, 0.1), (1.0, 0.6, 0.12), (inf, 1.0, 0.9)]) is None
    assert cliff([(0.5, 0.5, 0.1), (inf, 1.0, 0.9)]) is None
    assert cliff([(0.5, 0.4, 0.9), (1.0, 0.7, 0.9), (inf, 1.0, 0.9)]) is None


def test_the_cliff_of_a_perplexity_is_where_it_rises():
    shares = {"effective:0.5": 3, "effective:1": 6}
    content = replace(comparison({}), quality=10.0, metric=PERPLEXITY)
    for budget, perplexity in zip(shares, (90.0, 12.0), strict=True):
        one = comparison({"l1": [(perplexity, perplexity)]}, budget, range(shares[budget]))
        content = replace(content, outcomes=[*content.outcomes, *one.outcomes])
    (points,) = betas._points(content, "l1", {0.5: "effective:0.5", 1.0: "effective:1"}, "cut")
    assert cliff(points) == 1.0


def test_the_beta_sentence_counts_the_cliffs():
    text = betas.sentence(
        {"cut": {"taylor": [1.0, 0.75], "random": [None, 1.0]}, "recovered": {"taylor": [0.75, 0.75]}}
    )
    assert "Right after the cut, β = 1 marks the cliff for 2 of 4 criteria and seeds" in text
    assert "taylor at β = 1 (1 of 2 seeds), β = 0.75 (1 of 2 seeds); random at no β (1 of 2 seeds)" in text
    assert "recovered, β = 1 marks the cliff for 0 of 2 criteria and seeds (taylor at β = 0.75 (2 of 2 seeds))" in text


@pytest.mark.slow
def test_the_beta_table_follows_from_the_reported_data(job, tmp_path, quick):
    finding = run_beta(job, tmp_path / "new", here, ("l1",), (0.5, 1), seeds=2)
    for criterion in ("l1", "random"):
        row = next(row for row in finding.rows if row[:2] == [criterion, "0.5"])
        ours = {"criterion": criterion, "budget": "effective:0.5"}
        kept = [its["kept"] for its in finding.data["kept"] if ours.items() <= its.items()]
        assert row[2].startswith(f"{100 * mean(kept):.1f}")
        ours["stage"] = "recovered"
        accuracies = [its["accuracy"] for its in finding.data["records"] if ours.items() <= its.items()]
        assert row[4].startswith(f"{100 * mean(accuracies):.1f}")
    assert [row[0] for row in finding.rows[:2]] == ["dense", "l1"]
    assert set(finding.data["cliffs"]["cut"]) == {"l1", "random"}


@pytest.mark.slow
def test_the_hybrid_study_runs_mixtures_parts_and_random_and_resumes(job, tmp_path, quick):
    finding = run_hybrid(job, tmp_path / "new", here, alphas=(1, 0), seeds=1)
    assert [row[0] for row in finding.rows] == ["dense", MIXTURES[0], MIXTURES[1], AUTO, "l1", "nexp", "random"]
    assert "is the best" in finding.sentence
    again = run_hybrid(job, tmp_path / "new", refuse, alphas=(0, 1), seeds=1)
    assert again.figures == finding.figures


@given(st.integers(10, 99), st.sets(st.integers(2, 10), min_size=1))
def test_every_schedule_has_the_same_epochs(epochs, rounds):
    every = variants(epochs, sorted(rounds))
    assert {its.epochs + its.between * (its.rounds - 1) for its in every} == {epochs}
    assert all(its.epochs >= its.between for its in every)
    assert [its.rounds for its in every] == [1, *sorted(rounds), *sorted(rounds)]
    assert len({its.name for its in every}) == len(every)


def scheduled(rounds, trained, reverse=0.5):
    others = {"reversed-ssi": [(0.1, reverse)] * 2}
    comparisons = [comparison({"ssi": [(0.1, its), (0.1, its)], **others}) for its in (0.5, rounds, trained)]
    return dict(zip(variants(4, [2]), comparisons, strict=True))


def test_rounds_are_counted_as_above_or_below_one_shot():
    text = schedules.sentence(scheduled(0.6, 0.4))
    assert "without training in between end above one shot for 1 of 2 pairs of criterion and rounds (ssi in 2)" in text
    assert (
        "with training in between end above one shot for 0 of 2 pairs of criterion and rounds and below it for 1 of 2"
        in text
    )
    assert (
        "in one shot, ssi is level with reversed-ssi; in 2 rounds, ssi is 10.0 ± 0.0 points above reversed-ssi" in text
    )
    assert "(ssi" not in schedules.sentence(scheduled(0.5, 0.5))


@pytest.mark.slow
def test_schedules_start_from_the_same_weights_and_are_resumed(job, tmp_path, quick):
    file = tmp_path / "model.py"
    file.write_text(file.read_text().replace("torch.manual_seed(0)", "pass"))  # each time it is built, it is another
    finding = run_schedule(job, tmp_path / "new", here, ("l1",), [2], seeds=1)
    ours = {"criterion": "l1", "stage": "cut"}.items()
    cut = {its["schedule"]: its["accuracy"] for its in finding.data["records"] if ours <= its.items()}
    assert set(cut) == {"one shot", "2 rounds", "2 rounds, trained between"}
    assert cut["one shot"] == cut["2 rounds"]  # l1 says the same of what is left
    again = run_schedule(job, tmp_path / "new", refuse, ("l1",), [2], seeds=1)
    assert again.rows == finding.rows


def test_schedules_that_cannot_be_compared_are_refused(job, tmp_path):
    for changes, rounds, message in (({}, [4], "divided among"), ({}, [1], "≥ 2"), ({"fit": "py:f.py:f"}, [2], "fit")):
        with pytest.raises(UsageError, match=message):
            run_schedule(replace(job, **changes), tmp_path / "new", here, rounds=rounds)
    assert not (tmp_path / "new").exists()


def test_a_variant_changes_nothing_but_the_schedule(job):
    its = Variant(2, 1, 1).of(job)
    assert (its.config.schedule.rounds, its.config.between.epochs, its.config.recovery.epochs) == (2, 1, 1)
    assert its.with_config(schedule=job.config.schedule, between=None, recovery=job.config.recovery) == job


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["secateurs", "study", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code


@pytest.mark.slow
def test_the_command_writes_prints_and_resumes(job, tmp_path, monkeypatch, capsys):
    place = f"--data {job.data} --test {job.test} --epochs 0 --seeds 1 --out {tmp_path / 'new'}".split()
    options = [job.model, *place, "--criteria", "l1", "--betas", "1"]
    assert command(monkeypatch, "beta", *options) == 0
    out = capsys.readouterr().out
    written = json.loads((tmp_path / "new" / "beta.json").read_text())
    assert written["sentence"] in out
    assert "](beta-accuracy.svg)" in (tmp_path / "new" / "beta.md").read_text()
    monkeypatch.setattr("secateurs.experiments.workers._apart", lambda *_: pytest.fail("run again"))
    assert command(monkeypatch, "beta", *options, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == written["rows"]
    assert command(monkeypatch, "beta", *options, "--seeds", "2") == 3
    assert "another comparison" in capsys.readouterr().err


def test_the_command_states_how_to_resume_and_fails_if_runs_failed(job, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    options = f"{job.model} --data {job.data} --test {job.test} --out {tmp_path / 'new'}".split()
    monkeypatch.setattr("secateurs.cli.studies.sweeps.run_beta", stop)
    assert command(monkeypatch, "beta", *options) == 130
    assert f"To continue: secateurs study beta {' '.join(options)}" in capsys.readouterr().err
    finding = Finding("beta", "", "Found.", ["one"], [["1"]], {"failed": {"l1": "why"}}, "")
    monkeypatch.setattr("secateurs.cli.studies.sweeps.run_beta", lambda *_: finding)
    assert command(monkeypatch, "beta", *options) == 4


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
def test_the_commands_refuse_wrong_arguments(arguments, code, message, job, tmp_path, monkeypatch, capsys):
    options = f"--data {job.data} --test {job.test} --out {tmp_path / 'new'}"
    study, *others = arguments.split()
    assert command(monkeypatch, study, job.model, *options.split(), *others) == code
    assert message in capsys.readouterr().err
