"""What studies share that are sweeps: a model pruned in many ways, each recovered alike."""

from __future__ import annotations

from pathlib import Path

from secateurs.errors import UsageError
from secateurs.experiments.report import Comparison, Row
from secateurs.experiments.studies.wording import against
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import Execute
from secateurs.utils import Progress, spread

WHEN = {"cut": "right after the cut", "recalibrated": "with batch norm recalibrated", "recovered": "recovered"}


def swept(sweep: Sweep, directory: Path, execute: Execute, progress: Progress, command: str) -> Comparison:
    """What became of the models; runs that are finished in the directory are not made again.

    Raises:
        UsageError: there is nothing to measure accuracy on.
        SecateursError: see `Sweep.run`.
    """
    if not sweep.job.test:
        raise UsageError("this study is about accuracy: give labelled data to measure it on (--test)")
    return sweep.run(directory, execute, progress, command)


def row_of(comparison: Comparison, criterion: str, budget: str | None = None) -> Row:
    """The outcomes of a criterion, at a budget where there are several.

    Raises:
        UsageError: all its runs failed.
    """
    for row in comparison.rows:
        if row.criterion == criterion and budget in (None, row.budget):
            return row
    raise UsageError(f"every run of {criterion!r} failed: {next(iter(comparison.failed.values()), 'it was not made')}")


def paired(one: Row, other: Row, stage: str) -> tuple[list[float], list[float]]:
    """Qualities of two rows at a stage, for the seeds that both have.

    Raises:
        UsageError: there are none.
    """
    ours, theirs = ({o.seed: o.quality[stage] for o in row.outcomes if stage in o.quality} for row in (one, other))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        raise UsageError(f"so many runs failed that {one.criterion!r} and {other.criterion!r} have no seed in common")
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def gap(one: Row, other: Row, stage: str, name: str = "") -> str:
    """How far a row lies above or below another (called by its criterion if no name is given); see `against`."""
    return against(*paired(one, other, stage), name or other.criterion)


def cells(found: Comparison, row: Row) -> list[str]:
    """Of a table: what is left of the MACs, and the qualities of all stages."""
    left = spread(row.ratios("MACs", found.dense), 1, 100, " %")
    return [left, *(found.metric.cell(row.quality(stage)) for stage in found.stages)]


def dense_cells(found: Comparison) -> list[str]:
    """The same of the dense model."""
    quality = "" if found.quality is None else found.metric.text([found.quality])
    return ["100.0 %", *[quality] * len(found.stages)]


def failures(comparison: Comparison) -> list[str]:
    """What to say of runs that failed."""
    return [f"Failed: {name}: {error}" for name, error in comparison.failed.items()]
