"""One shot against rounds of scoring and cutting, without training in between and with it, at equal epochs in all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from secateurs.errors import PersistError, UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.report import Comparison, records
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import curve, dense_line, standalone
from secateurs.experiments.studies.sweeping import WHEN, cells, dense_cells, failures, gap, paired, row_of, swept
from secateurs.experiments.studies.wording import SPREAD, side
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import Execute
from secateurs.utils import STYLE, WIDTH, Progress, legend, silent, whole

CRITERIA = ("ssi", "nexp")
ROUNDS = (2, 5)
WEIGHTS = "dense.safetensors"


@dataclass(frozen=True)
class Variant:
    """One schedule.

    Attributes:
        rounds: of scoring and cutting.
        between: epochs of training after each round but the last; 0 is no update.
        epochs: after the last.
    """

    rounds: int
    between: int
    epochs: int

    @property
    def name(self) -> str:
        """For people."""
        if self.rounds == 1:
            return "one shot"
        return f"{self.rounds} rounds, trained between" if self.between else f"{self.rounds} rounds"

    def of(self, job: Job) -> Job:
        """The job on this schedule."""
        recovery = dataclasses.replace(job.recovery, epochs=self.epochs)
        schedule = dataclasses.replace(job.schedule, rounds=self.rounds)
        return dataclasses.replace(job, schedule=schedule, epochs_between=self.between, recovery=recovery)


Found = Mapping[Variant, Comparison]


def run_schedule(
    job: Job,
    directory: Path,
    execute: Execute,
    criteria: tuple[str, ...] = CRITERIA,
    rounds: Sequence[int] = ROUNDS,
    seeds: int = 3,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Prune in one shot and in rounds, without and with training in between.

    Args:
        job: with a budget, the epochs that every schedule has in all, and something to measure accuracy on.
        directory: for the runs; those that are finished there are not made again.
        execute: runs them.
        criteria: beside l1, random and, for SSI, the reversed order.
        rounds: numbers of them, beside one.
        seeds: repetitions.
        progress: wraps the runs of each schedule.
        command: how to do it again.

    Returns:
        What was found.

    Raises:
        UsageError: the epochs are fewer than the rounds, or something else trains.
        SecateursError: see `Sweep.run`.
    """
    _check(job, rounds)
    runs = directory / "schedule-runs"
    job = _same_weights(job, runs)
    found: dict[Variant, Comparison] = {}
    for its in variants(job.recovery.epochs, rounds):
        sweep = Sweep(its.of(job), criteria, (job.budget,), seeds)
        found[its] = swept(sweep, runs / its.name.replace(", ", "-").replace(" ", "-"), execute, progress, command)
    first = next(iter(found.values()))
    rows = [[name, its.name, *cells(of, row_of(of, name))] for name in first.criteria for its, of in found.items()]
    total = job.recovery.epochs
    return Finding(
        study="schedule",
        title=f"One shot and rounds, {job.budget}, {total} epoch{'s' * (total != 1)} in all",
        sentence=sentence(found),
        headers=["criterion", "schedule", "MACs left", *first.stages],
        rows=[["dense", "", *dense_cells(first)], *rows],
        data={
            "dense": first.quality,
            "epochs": total,
            "schedules": {its.name: dataclasses.asdict(its) for its in found},
            "records": [{"schedule": its.name, **one} for its, of in found.items() for one in records(of)[1:]],
            "failed": {f"{its.name}: {cell}": why for its, of in found.items() for cell, why in of.failed.items()},
        },
        command=command,
        notes=[
            f"Every schedule has {total} epochs in all and comes to the same budget. Rounds score anew what is left; "
            "without training in between no weight changes until the last cut, and all epochs follow it. Trained "
            "between, the epochs are shared out evenly, and the learning rate falls and starts again in each share. "
            f'"{first.ends[0]}" is after the last cut: of schedules with training in between, of trained weights.',
            SPREAD,
            *(f"{its.name}: {text}" for its, of in found.items() for text in failures(of)),
        ],
        figures={"accuracy": picture(found)},
    )


def variants(epochs: int, rounds: Sequence[int]) -> list[Variant]:
    """One shot, all rounds without training in between, and all with it, of so many epochs in all."""
    wanted = sorted(set(rounds))
    shares = [epochs // number for number in wanted]
    trained = [Variant(n, each, epochs - each * (n - 1)) for n, each in zip(wanted, shares, strict=True)]
    return [Variant(1, 0, epochs), *(Variant(n, 0, epochs) for n in wanted), *trained]


def sentence(found: Found) -> str:
    """How often rounds end clearly above one shot, how often below, and how SSI stands to its reverse."""
    one_shot, *others = found
    stage = found[one_shot].ends[-1]
    texts = []
    for trained, kind in ((False, "rounds without training in between"), (True, "rounds with it")):
        sides = {
            f"{name} in {its.rounds}": side(paired(row_of(found[its], name), row_of(found[one_shot], name), stage))
            for its in others
            if bool(its.between) == trained
            for name in found[its].criteria
        }
        texts.append(f"{kind} end above one shot for {_listed(sides, 'above')}, below it for {_listed(sides, 'below')}")
    for its in (one_shot, [its for its in others if not its.between][-1]):
        if {"ssi", "reversed-ssi"} <= set(found[its].criteria):
            ssi, control = (row_of(found[its], name) for name in ("ssi", "reversed-ssi"))
            texts.append(f"in {its.name}, ssi is {gap(ssi, control, stage)}")
    return f"With equal epochs, {WHEN[stage]}, {'; '.join(texts)}."


def _listed(sides: Mapping[str, str], wanted: str) -> str:
    names = [pair for pair, its in sides.items() if its == wanted]
    return f"{len(names)} of {len(sides)} pairs of criterion and rounds" + (f" ({', '.join(names)})" if names else "")


def _check(job: Job, rounds: Sequence[int]) -> None:
    if not rounds or min(rounds) < 2:
        raise UsageError(f"give numbers of rounds ≥ 2 to compare one shot with, not {list(rounds)}")
    if job.recovery.epochs < max(rounds):
        raise UsageError(
            f"{job.recovery.epochs} epochs cannot be shared out among {max(rounds)} rounds: give at least as many "
            "(--epochs), or fewer rounds"
        )
    if job.fit or job.epochs_between:
        raise UsageError("this study shares out the epochs of its own recipe: leave out fit and epochs between")


def _same_weights(job: Job, runs: Path) -> Job:
    """The job with the weights of one dense model for all schedules, whatever its factory draws."""
    kept = runs / WEIGHTS
    try:
        if not kept.exists():
            with whole(kept) as new:
                safetensors.torch.save_model(job.dense(), str(new))
    except OSError as error:
        raise PersistError(f"the runs cannot be kept in {runs}: {error}") from error
    return dataclasses.replace(job, weights=str(kept))


def picture(found: Found) -> str:
    """Accuracy against the number of rounds, without training in between and with it, as SVG text."""
    one_shot, *others = found
    first = found[one_shot]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.4 + 2.6 * len(first.ends)), layout="constrained")
        grid = figure.subplots(len(first.ends), 2, squeeze=False, sharey="row")
        for lines, stage in zip(grid, first.ends, strict=True):
            for axes, trained in zip(lines, (False, True), strict=True):
                shown = [one_shot, *(its for its in others if bool(its.between) == trained)]
                for number, criterion in enumerate(first.criteria):
                    values = [row_of(found[its], criterion).quality(stage) for its in shown]
                    curve(axes, [its.rounds for its in shown], values, number, criterion)
                dense_line(axes, first.quality)
                axes.set_title("trained between rounds" if trained else "no updates between rounds", fontsize=10)
                axes.set_xlabel("rounds")
            lines[0].set_ylabel(f"{first.metric.name}, {WHEN[stage]}")
        legend(figure, *grid[0, 0].get_legend_handles_labels())
        return standalone(figure, "accuracy against the number of rounds")
