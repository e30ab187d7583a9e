"""Pictures of quality: by stage, against cost, and what the cut took against what recovery gave back."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from secateurs.experiments.report.comparison import Comparison
from secateurs.utils import INK, STYLE, WIDTH, colour, legend, marker, panels, short, svg

Point = tuple[tuple[float, float], tuple[float, float]]  # mean and deviation of each coordinate
BAR: dict[str, Any] = {"elinewidth": 0.8, "capsize": 2, "ms": 5}


def by_stage(comparison: Comparison) -> str:
    """Quality by stage: mean over seeds, with the standard deviation."""
    stages, rows, scale = comparison.stages, comparison.rows, comparison.metric.scale
    width = 0.8 / len(rows)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
        axes = figure.add_subplot()
        for number, row in enumerate(rows):
            values = [_centre(row.quality(stage), scale) for stage in stages]
            offset = (number - (len(rows) - 1) / 2) * width
            heights, errors = zip(*values, strict=True)
            positions = np.arange(len(stages)) + offset
            look = {"color": colour(number), "ecolor": INK, "capsize": 3, "label": short(row.criterion)}
            axes.bar(positions, heights, width * 0.9, yerr=errors, **look)
        _dense_line(axes, comparison)
        axes.set_xticks(np.arange(len(stages)), stages)
        axes.set_ylabel(_label(comparison))
        if comparison.metric.percent:
            axes.set_ylim(0, 104)
        legend(figure, *axes.get_legend_handles_labels())
        return svg(figure, f"{comparison.metric.name} by stage")


def against_cost(comparison: Comparison) -> str:
    """Quality against what is left of MACs, parameters and latency: right after the cut above, at the end below."""
    stages, costs, metric = comparison.ends, comparison.costs, comparison.metric
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.5 + 2.5 * len(stages)), layout="constrained")
        grid = figure.subplots(len(stages), len(costs), sharex="col", sharey="row", squeeze=False)
        for (row, column), axes in np.ndenumerate(grid):
            stage, cost = stages[row], costs[column]
            for number, criterion in enumerate(comparison.criteria):
                its = [row for row in comparison.rows if row.criterion == criterion]
                pairs = [(row.ratios(cost, comparison.dense), row.quality(stage)) for row in its]
                points = sorted((_centre(x, 100), _centre(y, metric.scale)) for x, y in pairs if x and y)
                _points(axes, points, number, criterion, line="-")
            _dense_line(axes, comparison)
            if comparison.quality is not None:
                axes.plot([100], [metric.scale * comparison.quality], "*", color=INK, ms=9)
            axes.set_xlabel(f"{cost} left, %" if row == len(stages) - 1 else "")
            axes.set_ylabel(f"{stage}: {_label(comparison)}" if column == 0 else "")
        legend(figure, *grid[0, 0].get_legend_handles_labels())
        return svg(figure, f"{metric.name} against cost, {' and '.join(stages)}")


def damage(comparison: Comparison) -> str:
    """Quality at the end against quality right after the cut, a panel per budget."""
    first, last = comparison.ends
    scale, columns = comparison.metric.scale, min(len(comparison.budgets), 3)
    lines = -(-len(comparison.budgets) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.4 + 3 * lines), layout="constrained")
        found = panels(figure, len(comparison.budgets), columns, sharey=True)
        for budget, axes in zip(comparison.budgets, found, strict=True):
            for number, criterion in enumerate(comparison.criteria):
                its = [(r.quality(first), r.quality(last)) for r in comparison.at(budget) if r.criterion == criterion]
                points = [(_centre(x, scale), _centre(y, scale)) for x, y in its if x and y]
                _points(axes, points, number, criterion)
            _dense_line(axes, comparison)
            axes.set_title(budget, fontsize=10)
            axes.set_xlabel(f"{first}: {_label(comparison)}")
        for axes in found[::columns]:
            axes.set_ylabel(f"{last}: {_label(comparison)}")
        legend(figure, *found[0].get_legend_handles_labels())
        return svg(figure, f"{comparison.metric.name} {last} against {first}")


def _centre(values: Sequence[float], scale: float) -> tuple[float, float]:
    """Mean and standard deviation; nan where there are too few values."""
    nan = float("nan")
    return scale * mean(values) if values else nan, scale * stdev(values) if len(values) > 1 else nan


def _points(
    axes: Axes, points: Sequence[tuple[tuple[float, float], ...]], number: int, label: str, line: str = ""
) -> None:
    (x, x_error), (y, y_error) = np.array(points).reshape(-1, 2, 2).transpose(1, 2, 0)
    look = {"color": colour(number), "ls": line, "marker": marker(number), "label": short(label), **BAR}
    axes.errorbar(x, y, y_error, x_error, **look)


def _dense_line(axes: Axes, comparison: Comparison) -> None:
    if comparison.quality is not None:
        axes.axhline(comparison.metric.scale * comparison.quality, color=INK, lw=1, ls="--", label="dense")


def _label(comparison: Comparison) -> str:
    return f"{comparison.metric.name}, %" if comparison.metric.percent else comparison.metric.name
