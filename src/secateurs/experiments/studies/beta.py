"""EMP's factor β: how much is kept, what is lost, and where the cliff is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import mean

from matplotlib import rc_context
from matplotlib.figure import Figure

from secateurs.experiments.job import Job
from secateurs.experiments.report import Comparison, Outcome, records
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import curve, dense_line, standalone
from secateurs.experiments.studies.sweeping import WHEN, dense_cells, failures, row_of, swept
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import Execute
from secateurs.utils import INK, STYLE, WIDTH, Progress, legend, silent, spread

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
    """Keep β times the effective number of units, for every β, and see where the damage per unit rises most.

    Args:
        job: with something to measure quality on.
        directory: for the runs; those that are finished there are not made again.
        execute: runs them.
        criteria: beside l1 and random.
        betas: factors > 0.
        seeds: repetitions.
        progress: wraps the runs.
        command: how to do it again.

    Returns:
        What was found; see `cliff`.

    Raises:
        SecateursError: see `Sweep.run`.
    """
    budgets = {factor: f"effective:{factor:g}" for factor in sorted(set(betas))}
    found = swept(
        Sweep(job, criteria, tuple(budgets.values()), seeds), directory / "beta-runs", execute, progress, command
    )
    cliffs = {
        stage: {name: [cliff(its) for its in _points(found, name, budgets, stage)] for name in found.criteria}
        for stage in found.ends
    }
    headers = ["criterion", "β", "units kept", *found.stages]
    rows = [_line(found, name, budgets, factor) for name in found.criteria for factor in budgets]
    kept = [
        {"criterion": o.criterion, "budget": o.budget, "seed": o.seed, "kept": share(found, o)} for o in found.outcomes
    ]
    return Finding(
        study="beta",
        title="β times the effective number of units",
        sentence=sentence(cliffs),
        headers=headers,
        rows=[["dense", "", *dense_cells(found)], *rows],
        data={
            "dense": found.quality,
            "cliffs": cliffs,
            "kept": kept,
            "records": records(found),
            "failed": dict(found.failed),
        },
        command=command,
        notes=[
            "The cliff is the β at which the quality lost per removed unit rises most: the slope between its "
            "neighbour below and itself less the slope between itself and its neighbour above, the dense model being "
            "the last neighbour right after the cut. Only values of β between others can be one.",
            "N_eff is that of the scores: random ones, uniform in [0, 1], have three quarters of N whatever the model.",
            *found.notes[:1],
            *failures(found),
        ],
        figures={"accuracy": picture(found, budgets)},
    )


def cliff(points: Sequence[tuple[float, float, float]]) -> float | None:
    """The β at which the quality lost per removed unit rises most; None if it rises nowhere.

    Args:
        points: (β, share of the units kept, quality) in any order. Of points that keep equally much, that with the
            least β counts.
    """
    first = {kept: (factor, kept, its) for factor, kept, its in sorted(points, reverse=True)}
    line = sorted(first.values(), key=lambda point: point[1])
    slopes = [(b[2] - a[2]) / (b[1] - a[1]) for a, b in pairwise(line)]
    rises = {point[0]: below - above for point, below, above in zip(line[1:], slopes, slopes[1:], strict=False)}
    best = max(rises, key=rises.__getitem__, default=None)
    return best if best is not None and rises[best] > 0 else None


def share(found: Comparison, outcome: Outcome) -> float:
    """The share of the units that a pruned model kept."""
    kept = sum(len(outcome.keep.get(name, range(size))) for name, size in found.units.items())
    return kept / sum(found.units.values())


def sentence(cliffs: Cliffs) -> str:
    """How often β = 1 marks the cliff, and where it is otherwise."""
    texts = []
    for stage, of in cliffs.items():
        every = [its for found in of.values() for its in found]
        where = "; ".join(f"{name} at {_where(its)}" for name, its in of.items())
        texts.append(
            f"{WHEN[stage]}, β = 1 marks the cliff for {every.count(1.0)} of {len(every)} criteria and seeds ({where})"
        )
    text = "; ".join(texts)
    return f"{text[:1].upper()}{text[1:]}."


def _where(found: Sequence[float | None]) -> str:
    names = Counter("none" if its is None else f"β = {its:g}" for its in found)
    return ", ".join(f"{name} ({number} of {len(found)} seeds)" for name, number in names.most_common())


def _points(
    found: Comparison, criterion: str, budgets: Mapping[float, str], stage: str
) -> list[list[tuple[float, float, float]]]:
    """For each seed, β, the share kept and the quality (higher = better); the dense one last while none is trained."""
    factors = {budget: factor for factor, budget in budgets.items()}
    sign = 1 if found.metric.higher_is_better else -1
    of: dict[int, list[tuple[float, float, float]]] = {}
    for its in found.outcomes:
        if its.criterion == criterion and stage in its.quality:
            of.setdefault(its.seed, []).append((factors[its.budget], share(found, its), sign * its.quality[stage]))
    dense = [(inf, 1.0, sign * found.quality)] if stage == "cut" and found.quality is not None else []
    return [points + dense for _, points in sorted(of.items())]


def _line(found: Comparison, criterion: str, budgets: Mapping[float, str], factor: float) -> list[str]:
    row = row_of(found, criterion, budgets[factor])
    kept = spread([share(found, its) for its in row.outcomes], 1, 100, " %")
    return [criterion, f"{factor:g}", kept, *(found.metric.cell(row.quality(stage)) for stage in found.stages)]


def picture(found: Comparison, budgets: Mapping[float, str]) -> str:
    """Quality against β and against the share of the units kept, for the first stage and the last, as SVG text."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.4 + 2.6 * len(found.ends)), layout="constrained")
        grid = figure.subplots(len(found.ends), 2, squeeze=False, sharey="row")
        for lines, stage in zip(grid, found.ends, strict=True):
            for number, name in enumerate(found.criteria):
                rows = [row_of(found, name, budget) for budget in budgets.values()]
                shares = [mean(share(found, its) for its in row.outcomes) for row in rows]
                for axes, x in zip(lines, (list(budgets), shares), strict=True):
                    curve(axes, x, [row.quality(stage) for row in rows], number, name)
            for axes, label in zip(lines, ("β", "units kept"), strict=True):
                dense_line(axes, found.quality)
                axes.set_xlabel(label)
            lines[0].axvline(1, color=INK, lw=0.6)
            lines[0].set_ylabel(f"{found.metric.name}, {WHEN[stage]}")
        legend(figure, *grid[0, 0].get_legend_handles_labels())
        return standalone(figure, f"{found.metric.name} against β")
