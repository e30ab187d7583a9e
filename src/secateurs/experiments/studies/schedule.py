"""The schedule study: one shot against rounds of scoring and cutting, with and without training in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch

from secateurs.errors import PersistError, UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.report import Comparison, records
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.schedule_finding import picture, sentence, table
from secateurs.experiments.studies.sweeping import failures, run_sweep
from secateurs.experiments.studies.variants import Variant, variants
from secateurs.experiments.studies.wording import SPREAD
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import Execute
from secateurs.utils import Progress, atomic_path, silent

CRITERIA = ("ssi", "nexp")
ROUNDS = (2, 5)
WEIGHTS = "dense.safetensors"


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
    """Prune in one shot and in rounds, without and with training in between, with equal epochs in total.

    Args:
        job: with a budget, the total epochs of every schedule, and data to measure accuracy on.
        directory: for the runs; runs that are finished there are not repeated.
        execute: runs the cells.
        criteria: compared beside l1, random and, for SSI, the reversed order.
        rounds: numbers of rounds, compared with one.
        seeds: repetitions.
        progress: wraps the runs of each schedule.
        command: the command that repeats the study.

    Raises:
        UsageError: there are fewer epochs than rounds, or the job trains in another way.
        SecateursError: as raised by `Sweep.run`.
    """
    _check(job, rounds)
    runs = directory / "schedule-runs"
    job = _same_weights(job, runs)
    results: dict[Variant, Comparison] = {}
    for variant in variants(job.recipe.epochs, rounds):
        sweep = Sweep(variant.of(job), criteria, (str(job.config.budget),), seeds)
        subdirectory = runs / variant.name.replace(", ", "-").replace(" ", "-")
        results[variant] = run_sweep(sweep, subdirectory, execute, progress, command)
    first = next(iter(results.values()))
    total = job.recipe.epochs
    headers, rows = table(results)
    return Finding(
        study="schedule",
        title=f"One shot and rounds, {job.config.budget}, {total} epoch{'s' * (total != 1)} in all",
        sentence=sentence(results),
        headers=headers,
        rows=rows,
        data={
            "dense": first.quality,
            "epochs": total,
            "schedules": {variant.name: dataclasses.asdict(variant) for variant in results},
            "records": [
                {"schedule": variant.name, **record}
                for variant, comparison in results.items()
                for record in records(comparison)[1:]
            ],
            "failed": {
                f"{variant.name}: {cell}": error
                for variant, comparison in results.items()
                for cell, error in comparison.failed.items()
            },
        },
        command=command,
        notes=[
            f"Every schedule trains for {total} epochs in total and reaches the same budget. Each round scores the "
            "remaining units anew. Without training in between, no weight changes until the last cut, and all epochs "
            "follow it. With training in between, the epochs are divided evenly, and the learning rate falls and "
            f'restarts in each part. "{first.ends[0]}" is after the last cut, so with training in between it is '
            "measured on trained weights.",
            SPREAD,
            *(f"{variant.name}: {text}" for variant, comparison in results.items() for text in failures(comparison)),
        ],
        figures={"accuracy": picture(results)},
    )


def _check(job: Job, rounds: Sequence[int]) -> None:
    if not rounds or min(rounds) < 2:
        raise UsageError(f"give numbers of rounds ≥ 2 to compare one shot with, not {list(rounds)}")
    if job.recipe.epochs < max(rounds):
        raise UsageError(
            f"{job.recipe.epochs} epochs cannot be divided among {max(rounds)} rounds: give at least as many "
            "epochs (--epochs), or fewer rounds"
        )
    if job.fit or job.config.between:
        raise UsageError("this study divides the epochs of the recipe: leave out --fit and --epochs-between")


def _same_weights(job: Job, runs: Path) -> Job:
    """The job with the weights of one dense model for all schedules, even if its factory draws random ones."""
    path = runs / WEIGHTS
    try:
        if not path.exists():
            with atomic_path(path) as new:
                safetensors.torch.save_model(job.dense(), str(new))
    except OSError as error:
        raise PersistError(f"the runs cannot be stored in {runs}: {error}") from error
    return dataclasses.replace(job, weights=str(path))
