"""The beta study: EMP's factor β, the units kept, the accuracy lost, and the cliff."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import mean

from secateurs.budgets import Budget
from secateurs.experiments.job import Job
from secateurs.experiments.report import Comparison, Outcome, page_figure, records
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import curve, dense_line, standalone
from secateurs.experiments.studies.sweeping import STAGE_TEXTS, as_sentence, dense_cells, failures, row_of, run_sweep
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import Execute
from secateurs.utils import INK, Progress, format_mean, legend, silent

BETAS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
Cliffs = Mapping[str, Mapping[str, Sequence[float | None]]]  # stage → criterion → β per seed


def run_beta(
    job: Job,
    directory: Path,
    execute: Execute,
    criteria: tuple[str, ...] = ("taylor",),
    betas: Sequence[float] = BETAS,
    seeds: int = 3,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Keep β times the effective number of units, for every β, and find where the damage per unit rises most.

    Args:
        job: with data to measure quality on.
        directory: for the runs; runs that are finished there are not repeated.
        execute: runs the cells.
        criteria: compared beside l1 and random.
        betas: factors > 0.
        seeds: repetitions.
        progress: wraps the runs.
        command: the command that repeats the study.

    Returns:
        The finding; `cliff` defines where the damage rises most.

    Raises:
        SecateursError: as raised by `Sweep.run`.
    """
    budgets = {factor: str(Budget.parse(f"effective:{factor:g}")) for factor in sorted(set(betas))}
    sweep = Sweep(job, criteria, tuple(budgets.values()), seeds)
    comparison = run_sweep(sweep, directory / "beta-runs", execute, progress, command)
    cliffs = {
        stage: {
            name: [cliff(points) for points in _points(comparison, name, budgets, stage)]
            for name in comparison.criteria
        }
        for stage in comparison.ends
    }
    headers = ["criterion", "β", "units kept", *comparison.stages]
    rows = [_row(comparison, name, budgets, factor) for name in comparison.criteria for factor in budgets]
    kept = [
        {"criterion": o.criterion, "budget": o.budget, "seed": o.seed, "kept": share(comparison, o)}
        for o in comparison.outcomes
    ]
    return Finding(
        study="beta",
        title="β times the effective number of units",
        sentence=sentence(cliffs),
        headers=headers,
        rows=[["dense", "", *dense_cells(comparison)], *rows],
        data={
            "dense": comparison.quality,
            "cliffs": cliffs,
            "kept": kept,
            "records": records(comparison),
            "failed": dict(comparison.failed),
        },
        command=command,
        notes=[
            "The cliff is the β at which the quality lost per removed unit rises most: the slope between the next "
            "lower β and this one, minus the slope between this β and the next higher one. Right after the cut, the "
            "dense model follows the highest β. The lowest β cannot be a cliff; nor can the highest one if no dense "
            "model follows it.",
            "N_eff is computed from the scores: uniform random scores have three quarters of N for every model.",
            *comparison.notes[:1],
            *failures(comparison),
        ],
        figures={"accuracy": picture(comparison, budgets)},
    )


def cliff(points: Sequence[tuple[float, float, float]]) -> float | None:
    """The β at which the quality lost per removed unit rises most; None if it rises nowhere.

    Args:
        points: (β, share of the units kept, quality), in any order. Of points with an equal share, the one with the
            lowest β counts.
    """
    first = {kept: (factor, kept, quality) for factor, kept, quality in sorted(points, reverse=True)}
    line = sorted(first.values(), key=lambda point: point[1])
    slopes = [(b[2] - a[2]) / (b[1] - a[1]) for a, b in pairwise(line)]
    rises = {point[0]: below - above for point, below, above in zip(line[1:], slopes, slopes[1:], strict=False)}
    best = max(rises, key=rises.__getitem__, default=None)
    return best if best is not None and rises[best] > 0 else None


def share(comparison: Comparison, outcome: Outcome) -> float:
    """The share of the units that a pruned model kept."""
    kept = sum(len(outcome.keep.get(name, range(size))) for name, size in comparison.units.items())
    return kept / sum(comparison.units.values())


def sentence(cliffs: Cliffs) -> str:
    """Count how often β = 1 marks the cliff, and list the cliffs of every criterion."""
    texts = []
    for stage, by_criterion in cliffs.items():
        every = [factor for factors in by_criterion.values() for factor in factors]
        where = "; ".join(f"{name} at {_where(factors)}" for name, factors in by_criterion.items())
        count = f"{every.count(1.0)} of {len(every)} criteria and seeds"
        texts.append(f"{STAGE_TEXTS[stage]}, β = 1 marks the cliff for {count} ({where})")
    return f"{as_sentence(texts)}."


def _where(factors: Sequence[float | None]) -> str:
    names = Counter("no β" if factor is None else f"β = {factor:g}" for factor in factors)
    return ", ".join(f"{name} ({number} of {len(factors)} seeds)" for name, number in names.most_common())


def _points(
    comparison: Comparison, criterion: str, budgets: Mapping[float, str], stage: str
) -> list[list[tuple[float, float, float]]]:
    """For each seed, (β, share kept, quality with higher = better); right after the cut the dense model is the last."""
    factors = {budget: factor for factor, budget in budgets.items()}
    sign = 1 if comparison.metric.higher_is_better else -1
    by_seed: dict[int, list[tuple[float, float, float]]] = {}
    for outcome in comparison.outcomes:
        if outcome.criterion == criterion and stage in outcome.quality:
            point = (factors[outcome.budget], share(comparison, outcome), sign * outcome.quality[stage])
            by_seed.setdefault(outcome.seed, []).append(point)
    dense = [(inf, 1.0, sign * comparison.quality)] if stage == "cut" and comparison.quality is not None else []
    return [points + dense for _, points in sorted(by_seed.items())]


def _row(comparison: Comparison, criterion: str, budgets: Mapping[float, str], factor: float) -> list[str]:
    row = row_of(comparison, criterion, budgets[factor])
    kept = format_mean([share(comparison, outcome) for outcome in row.outcomes], 1, 100, " %")
    return [
        criterion,
        f"{factor:g}",
        kept,
        *(comparison.metric.cell(row.quality(stage)) for stage in comparison.stages),
    ]


def picture(comparison: Comparison, budgets: Mapping[float, str]) -> str:
    """Quality against β and against the share of the units kept, for the first stage and the last, as SVG text."""
    with page_figure(0.4 + 2.6 * len(comparison.ends)) as figure:
        grid = figure.subplots(len(comparison.ends), 2, squeeze=False, sharey="row")
        for lines, stage in zip(grid, comparison.ends, strict=True):
            for number, name in enumerate(comparison.criteria):
                rows = [row_of(comparison, name, budget) for budget in budgets.values()]
                shares = [mean(share(comparison, outcome) for outcome in row.outcomes) for row in rows]
                for axes, x in zip(lines, (list(budgets), shares), strict=True):
                    curve(axes, x, [row.quality(stage) for row in rows], number, name)
            for axes, label in zip(lines, ("β", "units kept"), strict=True):
                dense_line(axes, comparison.quality)
                axes.set_xlabel(label)
            lines[0].axvline(1, color=INK, lw=0.6)
            lines[0].set_ylabel(f"{comparison.metric.name}, {STAGE_TEXTS[stage]}")
        legend(figure, *grid[0, 0].get_legend_handles_labels())
        return standalone(figure, f"{comparison.metric.name} against β")
