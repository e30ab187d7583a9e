"""The hybrid study: mixtures of two criteria against either criterion alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from secateurs.criteria import Hybrid
from secateurs.errors import UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.report import Comparison, page_figure, records
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import curve, dense_line, level, standalone
from secateurs.experiments.studies.sweeping import (
    STAGE_TEXTS,
    as_sentence,
    cells,
    dense_cells,
    failures,
    gap,
    row_of,
    run_sweep,
)
from secateurs.experiments.studies.wording import SPREAD
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import Execute
from secateurs.utils import Progress, legend, panels, silent

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
        job: with a budget and data to measure accuracy on.
        directory: for the runs; runs that are finished there are not repeated.
        execute: runs the cells.
        parts: the two criteria.
        alphas: in [0, 1].
        seeds: repetitions.
        progress: wraps the runs.
        command: the command that repeats the study.

    Raises:
        UsageError: there are not exactly two criteria, or fewer than two values of α.
        SecateursError: as raised by `Sweep.run`.
    """
    if len(parts) != 2 or len(set(alphas)) < 2:
        raise UsageError(
            f"this study needs two criteria and at least two values of α, not {list(parts)} and {list(alphas)}"
        )
    mixtures = {alpha: Hybrid(parts, alpha=alpha).name for alpha in sorted(set(alphas))}
    auto = Hybrid(parts, alpha="auto").name
    sweep = Sweep(job, (*mixtures.values(), auto, *parts), (str(job.config.budget),), seeds)
    comparison = run_sweep(sweep, directory / "hybrid-runs", execute, progress, command)
    rows = [[row.criterion, *cells(comparison, row)] for row in comparison.rows]
    return Finding(
        study="hybrid",
        title=f"Mixtures of {parts[0]} and {parts[1]} at {job.config.budget}",
        sentence=sentence(comparison, mixtures, parts, auto),
        headers=["criterion", "MACs left", *comparison.stages],
        rows=[["dense", *dense_cells(comparison)], *rows],
        data={
            "dense": comparison.quality,
            "alphas": mixtures,
            "records": records(comparison),
            "failed": dict(comparison.failed),
        },
        command=command,
        notes=[
            f"A mixture is (1 − α) · {parts[0]} + α · {parts[1]}, each divided by the mean of its scores over the "
            "layer; auto chooses an α for each layer by the loss on every second batch of the data. The scores of the "
            "criteria alone are not divided. Units of mixtures compete globally, other units in the criterion's scope.",
            SPREAD,
            *comparison.notes[:1],
            *failures(comparison),
        ],
        figures={"accuracy": picture(comparison, mixtures, auto)},
    )


def sentence(comparison: Comparison, mixtures: Mapping[float, str], parts: Sequence[str], auto: str) -> str:
    """Compare the best α with both criteria, the automatic choice and random, at the first and the last stage."""
    texts = []
    for stage in comparison.ends:
        means = {alpha: mean(row_of(comparison, name).quality(stage)) for alpha, name in mixtures.items()}
        best = max(means, key=means.__getitem__)
        row = row_of(comparison, mixtures[best])
        gaps = [gap(row, row_of(comparison, name), stage) for name in (*parts, "random")]
        gaps.append(gap(row, row_of(comparison, auto), stage, "an α for each layer"))
        pure = " (no mixture)" if best in (0, 1) else ""
        amount = comparison.metric.text(row.quality(stage))
        texts.append(
            f"{STAGE_TEXTS[stage]}, α = {best:g}{pure} is the best of the sweep with {amount}: {', '.join(gaps)}"
        )
    return f"{as_sentence(texts)} (the best α is chosen on the test data, so its accuracy is biased upwards)."


def picture(comparison: Comparison, mixtures: Mapping[float, str], auto: str) -> str:
    """Accuracy against α, a panel for the first stage and the last, as SVG text."""
    with page_figure(3.2) as figure:
        grid = panels(figure, len(comparison.ends), 2)
        for axes, stage in zip(grid, comparison.ends, strict=True):
            curve(
                axes,
                list(mixtures),
                [row_of(comparison, name).quality(stage) for name in mixtures.values()],
                0,
                "mixture",
            )
            for number, name in enumerate((auto, "random"), 1):
                level(axes, row_of(comparison, name).quality(stage), number, name)
            dense_line(axes, comparison.quality)
            axes.set_title(STAGE_TEXTS[stage], fontsize=10)
            axes.set_xlabel("α")
            axes.set_ylabel(comparison.metric.name)
        legend(figure, *grid[0].get_legend_handles_labels())
        return standalone(figure, "accuracy of mixtures against α")
