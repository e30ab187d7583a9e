"""Pictures of quality: by stage, against cost, and after recovery against after the cut."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.figure import page_figure
from secateurs.utils import INK, colour, legend, marker, panels, render_svg, shorten

if TYPE_CHECKING:  # matplotlib is an extra
    from matplotlib.axes import Axes

Point = tuple[tuple[float, float], tuple[float, float]]  # mean and deviation of each coordinate
BAR: dict[str, Any] = {"elinewidth": 0.8, "capsize": 2, "ms": 5}


def by_stage(comparison: Comparison) -> str:
    """Quality by stage: mean and standard deviation over the seeds."""
    stages, rows, scale = comparison.stages, comparison.rows, comparison.metric.scale
    width = 0.8 / len(rows)
    with page_figure(2.8) as figure:
        axes = figure.add_subplot()
        for number, row in enumerate(rows):
            values = [_centre(row.quality(stage), scale) for stage in stages]
            offset = (number - (len(rows) - 1) / 2) * width
            heights, errors = zip(*values, strict=True)
            positions = np.arange(len(stages)) + offset
            look = {"color": colour(number), "ecolor": INK, "capsize": 3, "label": shorten(row.criterion)}
            axes.bar(positions, heights, width * 0.9, yerr=errors, **look)
        _dense_line(axes, comparison)
        axes.set_xticks(np.arange(len(stages)), stages)
        axes.set_ylabel(_label(comparison))
        if comparison.metric.percent:
            axes.set_ylim(0, 104)
        legend(figure, *axes.get_legend_handles_labels())
        return render_svg(figure, f"{comparison.metric.name} by stage")


def against_cost(comparison: Comparison) -> str:
    """Quality against the share of MACs, parameters and latency left: right after the cut on top, at the end below."""
    stages, costs, metric = comparison.ends, comparison.costs, comparison.metric
    with page_figure(0.5 + 2.5 * len(stages)) as figure:
        grid = figure.subplots(len(stages), len(costs), sharex="col", sharey="row", squeeze=False)
        for (row, column), axes in np.ndenumerate(grid):
            stage, cost = stages[row], costs[column]
            for number, criterion in enumerate(comparison.criteria):
                rows = [row for row in comparison.rows if row.criterion == criterion]
                pairs = [(row.ratios(cost, comparison.dense), row.quality(stage)) for row in rows]
                points = sorted((_centre(x, 100), _centre(y, metric.scale)) for x, y in pairs if x and y)
                _points(axes, points, number, criterion, line="-")
            _dense_line(axes, comparison)
            if comparison.quality is not None:
                axes.plot([100], [metric.scale * comparison.quality], "*", color=INK, ms=9)
            axes.set_xlabel(f"{cost} left, %" if row == len(stages) - 1 else "")
            axes.set_ylabel(f"{stage}: {_label(comparison)}" if column == 0 else "")
        legend(figure, *grid[0, 0].get_legend_handles_labels())
        return render_svg(figure, f"{metric.name} against cost, {' and '.join(stages)}")


def damage(comparison: Comparison) -> str:
    """Quality at the end against quality right after the cut; one panel per budget."""
    first, last = comparison.ends
    scale, columns = comparison.metric.scale, min(len(comparison.budgets), 3)
    lines = -(-len(comparison.budgets) // columns)
    with page_figure(0.4 + 3 * lines) as figure:
        grid = panels(figure, len(comparison.budgets), columns, sharey=True)
        for budget, axes in zip(comparison.budgets, grid, strict=True):
            for number, criterion in enumerate(comparison.criteria):
                rows = [row for row in comparison.at(budget) if row.criterion == criterion]
                pairs = [(row.quality(first), row.quality(last)) for row in rows]
                points = [(_centre(x, scale), _centre(y, scale)) for x, y in pairs if x and y]
                _points(axes, points, number, criterion)
            _dense_line(axes, comparison)
            axes.set_title(budget, fontsize=10)
            axes.set_xlabel(f"{first}: {_label(comparison)}")
        for axes in grid[::columns]:
            axes.set_ylabel(f"{last}: {_label(comparison)}")
        legend(figure, *grid[0].get_legend_handles_labels())
        return render_svg(figure, f"{comparison.metric.name} {last} against {first}")


def _centre(values: Sequence[float], scale: float) -> tuple[float, float]:
    """Mean and standard deviation; nan where there are too few values."""
    nan = float("nan")
    return scale * mean(values) if values else nan, scale * stdev(values) if len(values) > 1 else nan


def _points(
    axes: Axes, points: Sequence[tuple[tuple[float, float], ...]], number: int, label: str, line: str = ""
) -> None:
    (x, x_error), (y, y_error) = np.array(points).reshape(-1, 2, 2).transpose(1, 2, 0)
    look = {"color": colour(number), "ls": line, "marker": marker(number), "label": shorten(label), **BAR}
    axes.errorbar(x, y, y_error, x_error, **look)


def _dense_line(axes: Axes, comparison: Comparison) -> None:
    if comparison.quality is not None:
        axes.axhline(comparison.metric.scale * comparison.quality, color=INK, lw=1, ls="--", label="dense")


def _label(comparison: Comparison) -> str:
    return f"{comparison.metric.name}, %" if comparison.metric.percent else comparison.metric.name
