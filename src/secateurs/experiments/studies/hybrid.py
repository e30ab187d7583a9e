"""Mixtures of two criteria: whether any does better than either alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from matplotlib import rc_context
from matplotlib.figure import Figure

from secateurs.criteria import Hybrid
from secateurs.errors import UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.report import Comparison, records
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import curve, dense_line, level, standalone
from secateurs.experiments.studies.sweeping import WHEN, cells, dense_cells, failures, gap, row_of, swept
from secateurs.experiments.studies.wording import SPREAD
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import Execute
from secateurs.utils import STYLE, WIDTH, Progress, legend, panels, silent

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def run_hybrid(
    job: Job,
    directory: Path,
    execute: Execute,
    parts: tuple[str, ...] = ("l1", "nexp"),
    alphas: Sequence[float] = ALPHAS,
    seeds: int = 3,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Prune by (1 − α) · one + α · other for every α, by α chosen for each layer, by both alone, and at random.

    Args:
        job: with a budget and something to measure accuracy on.
        directory: for the runs; those that are finished there are not made again.
        execute: runs them.
        parts: the two criteria.
        alphas: in [0, 1].
        seeds: repetitions.
        progress: wraps the runs.
        command: how to do it again.

    Returns:
        What was found.

    Raises:
        UsageError: there are not two criteria, or no two values of α.
        SecateursError: see `Sweep.run`.
    """
    if len(parts) != 2 or len(set(alphas)) < 2:
        raise UsageError(f"a mixture takes two criteria and several values of α, not {list(parts)} and {list(alphas)}")
    mixtures = {alpha: Hybrid(parts, alpha=alpha).name for alpha in sorted(set(alphas))}
    auto = Hybrid(parts, alpha="auto").name
    sweep = Sweep(job, (*mixtures.values(), auto, *parts), (job.budget,), seeds)
    found = swept(sweep, directory / "hybrid-runs", execute, progress, command)
    rows = [[row.criterion, *cells(found, row)] for row in found.rows]
    return Finding(
        study="hybrid",
        title=f"Mixtures of {parts[0]} and {parts[1]} at {job.budget}",
        sentence=sentence(found, mixtures, parts, auto),
        headers=["criterion", "MACs left", *found.stages],
        rows=[["dense", *dense_cells(found)], *rows],
        data={"dense": found.quality, "alphas": mixtures, "records": records(found), "failed": dict(found.failed)},
        command=command,
        notes=[
            f"A mixture is (1 − α) · {parts[0]} + α · {parts[1]}, each divided by its mean over the layer; auto has an "
            "α for each layer, chosen by the loss on every second batch of the data. The criteria alone are as they "
            "are, not divided by anything. Units compete as suits the criterion; those of mixtures, globally.",
            SPREAD,
            *found.notes[:1],
            *failures(found),
        ],
        figures={"accuracy": picture(found, mixtures, auto)},
    )


def sentence(found: Comparison, mixtures: Mapping[float, str], parts: Sequence[str], auto: str) -> str:
    """Which α does best, against both ends, the automatic choice and chance, at the first stage and the last."""
    texts = []
    for stage in found.ends:
        means = {alpha: mean(row_of(found, name).quality(stage)) for alpha, name in mixtures.items()}
        best = max(means, key=means.__getitem__)
        row = row_of(found, mixtures[best])
        gaps = [gap(row, row_of(found, name), stage) for name in (*parts, "random")]
        gaps.append(gap(row, row_of(found, auto), stage, "an α for each layer"))
        alone_ = " (no mixture)" if best in (0, 1) else ""
        amount = found.metric.text(row.quality(stage))
        texts.append(f"{WHEN[stage]}, α = {best:g}{alone_} does best of the sweep with {amount}: {', '.join(gaps)}")
    text = "; ".join(texts)
    return f"{text[:1].upper()}{text[1:]} (the best α is read off the test data, which flatters it)."


def picture(found: Comparison, mixtures: Mapping[float, str], auto: str) -> str:
    """Accuracy against α, a panel for the first stage and the last, as SVG text."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        grid = panels(figure, len(found.ends), 2)
        for axes, stage in zip(grid, found.ends, strict=True):
            curve(axes, list(mixtures), [row_of(found, its).quality(stage) for its in mixtures.values()], 0, "mixture")
            for number, name in enumerate((auto, "random"), 1):
                level(axes, row_of(found, name).quality(stage), number, name)
            dense_line(axes, found.quality)
            axes.set_title(WHEN[stage], fontsize=10)
            axes.set_xlabel("α")
            axes.set_ylabel(found.metric.name)
        legend(figure, *grid[0].get_legend_handles_labels())
        return standalone(figure, "accuracy of mixtures against α")
