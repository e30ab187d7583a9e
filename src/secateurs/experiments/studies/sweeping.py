"""Functions for studies that prune a model in many ways with the same recovery."""

from __future__ import annotations

from pathlib import Path

from secateurs.errors import UsageError
from secateurs.experiments.report import Comparison, Row
from secateurs.experiments.studies.wording import against
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import Execute
from secateurs.utils import Progress, format_mean

STAGE_TEXTS = {"cut": "right after the cut", "recalibrated": "with batch norm recalibrated", "recovered": "recovered"}


def run_sweep(sweep: Sweep, directory: Path, execute: Execute, progress: Progress, command: str) -> Comparison:
    """Run a sweep that measures accuracy; runs that are finished in the directory are not repeated.

    Raises:
        UsageError: there is no data to measure accuracy on.
        SecateursError: as raised by `Sweep.run`.
    """
    if not sweep.job.test:
        raise UsageError("this study measures accuracy: give labelled data for it (--test)")
    return sweep.run(directory, execute, progress, command)


def row_of(comparison: Comparison, criterion: str, budget: str | None = None) -> Row:
    """The outcomes of a criterion, at one budget if there are several.

    Raises:
        UsageError: all runs of the criterion failed.
    """
    for row in comparison.rows:
        if row.criterion == criterion and budget in (None, row.budget):
            return row
    reason = next(iter(comparison.failed.values()), "none was started")
    raise UsageError(f"every run of {criterion!r} failed: {reason}")


def paired(one: Row, other: Row, stage: str) -> tuple[list[float], list[float]]:
    """Qualities of two rows at a stage, for the seeds that both have.

    Raises:
        UsageError: they have no seed in common.
    """
    first, second = ({o.seed: o.quality[stage] for o in row.outcomes if stage in o.quality} for row in (one, other))
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise UsageError(f"so many runs failed that {one.criterion!r} and {other.criterion!r} have no seed in common")
    return [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def gap(one: Row, other: Row, stage: str, name: str = "") -> str:
    """How far a row lies above or below another one (named by its criterion unless `name` is given)."""
    return against(*paired(one, other, stage), name or other.criterion)


def cells(comparison: Comparison, row: Row) -> list[str]:
    """Cells of a table: the share of the MACs left, and the qualities of all stages."""
    left = format_mean(row.ratios("MACs", comparison.dense), 1, 100, " %")
    return [left, *(comparison.metric.cell(row.quality(stage)) for stage in comparison.stages)]


def dense_cells(comparison: Comparison) -> list[str]:
    """The same cells for the dense model."""
    quality = "" if comparison.quality is None else comparison.metric.text([comparison.quality])
    return ["100.0 %", *[quality] * len(comparison.stages)]


def failures(comparison: Comparison) -> list[str]:
    """A note for each run that failed."""
    return [f"Failed: {name}: {error}" for name, error in comparison.failed.items()]


def as_sentence(texts: list[str]) -> str:
    """Clauses joined by semicolons, with a capital at the beginning."""
    text = "; ".join(texts)
    return text[:1].upper() + text[1:]
