"""The pictures of a page, as SVG text that takes its ink from the page."""

from __future__ import annotations

import re
from io import StringIO
from statistics import mean, stdev
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from secateurs.report.comparison import Comparison

INK = "#010203"  # replaced by currentColor, so that one picture serves a light and a dark page
COLOURS = ("#2a9d8f", "#e9873d", "#5b7fd1", "#c44f7b", "#8a8f3c", "#7a5cc0")
REMOVED = "#b9bec6"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def widths(comparison: Comparison) -> str:
    """Units per group: the dense model in outline, the pruned ones as bars."""
    groups = list(comparison.units)
    with rc_context(STYLE):
        figure = Figure(figsize=(9, max(2.5, 0.32 * len(groups) * max(1, len(comparison.rows) * 0.45))))
        axes = figure.add_subplot()
        positions = np.arange(len(groups))
        height = 0.8 / max(len(comparison.rows), 1)
        axes.barh(positions, list(comparison.units.values()), 0.86, color="none", edgecolor=INK, lw=0.8, label="dense")
        for number, row in enumerate(comparison.rows):
            offset = (number - (len(comparison.rows) - 1) / 2) * height
            values = [row.widths.get(group, comparison.units[group]) for group in groups]
            axes.barh(positions + offset, values, height * 0.9, color=_colour(number), label=row.criterion)
        axes.set_yticks(positions, groups)
        axes.invert_yaxis()
        axes.set_xlabel("units")
        _legend_above(axes, len(comparison.rows) + 1)
        return svg(figure, "Units per group before and after pruning")


def scores(comparison: Comparison) -> str:
    """For each criterion, the scores of all units, kept and removed, and the threshold between them."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 2.6))
        panels = figure.subplots(1, len(comparison.rows), squeeze=False)[0]
        for number, (row, axes) in enumerate(zip(comparison.rows, panels, strict=True)):
            kept, removed = [], []
            for group, values in row.scores.items():
                stays = set(row.keep.get(group, range(len(values))))
                for unit, value in enumerate(values):
                    (kept if unit in stays else removed).append(value)
            bins = list(np.linspace(min(kept + removed), max(kept + removed) + 1e-12, 31))
            axes.hist([removed, kept], bins, stacked=True, color=[REMOVED, _colour(number)])
            if removed:
                axes.axvline(max(removed), color=INK, lw=1, ls="--")
            axes.set_title(row.criterion, fontsize=10)
            axes.set_xlabel("score")
        panels[0].set_ylabel("units")
        handles = [Patch(color=REMOVED), Patch(color=INK, alpha=0.6), Line2D([], [], color=INK, lw=1, ls="--")]
        labels = ["removed", "kept (in the criterion's colour)", "highest score removed"]
        figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.1, 1), ncols=3, frameon=False)
        return svg(figure, "Distribution of scores, kept and removed")


def accuracies(comparison: Comparison) -> str:
    """Accuracy by stage: mean over seeds, with the standard deviation."""
    stages = comparison.stages
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 2.8))
        axes = figure.add_subplot()
        width = 0.8 / max(len(comparison.rows), 1)
        for number, row in enumerate(comparison.rows):
            values = [row.accuracy.get(stage, [float("nan")]) for stage in stages]
            offset = (number - (len(comparison.rows) - 1) / 2) * width
            axes.bar(
                np.arange(len(stages)) + offset,
                [100 * mean(v) for v in values],
                width * 0.9,
                yerr=[100 * stdev(v) if len(v) > 1 else 0 for v in values],
                color=_colour(number),
                ecolor=INK,
                capsize=3,
                label=row.criterion,
            )
        if comparison.accuracy is not None:
            axes.axhline(100 * comparison.accuracy, color=INK, lw=1, ls="--", label="dense")
        axes.set_xticks(np.arange(len(stages)), stages)
        axes.set_ylabel("accuracy, %")
        axes.set_ylim(0, 104)
        _legend_above(axes, len(comparison.rows) + 1)
        return svg(figure, "Accuracy by stage")


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _legend_above(axes, columns: int) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False)


def svg(figure: Figure, title: str) -> str:
    """The figure as an <svg> element that scales with the page and names itself to screen readers."""
    text = StringIO()
    with rc_context({"svg.hashsalt": title}):  # makes ids that differ between the pictures of a page, not between runs
        figure.savefig(text, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
