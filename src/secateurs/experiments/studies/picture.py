"""Pictures of studies: the report's, made to stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from secateurs.utils import INK, colour, marker, short, svg


def standalone(figure: Figure, title: str) -> str:
    """The figure as SVG text that can stand alone; see `secateurs.report.figures.svg`."""
    return on_white(svg(figure, title))


def on_white(svg: str) -> str:
    """A picture for pages, dark on white wherever it is shown."""
    return svg.replace('style="', 'style="color: #222222; background: #ffffff; ', 1)


def curve(axes: Axes, x: Sequence[float], values: Sequence[Sequence[float]], number: int, label: str) -> None:
    """A line through the means, with the standard deviations of several values.

    Args:
        axes: to draw on.
        x: where each point is.
        values: those of each point.
        number: of the line, for its colour and marker.
        label: its name.
    """
    means, spreads = [mean(its) for its in values], [stdev(its) if len(its) > 1 else 0.0 for its in values]
    look = {"color": colour(number), "marker": marker(number), "ms": 4, "capsize": 2, "elinewidth": 0.8}
    axes.errorbar(x, means, spreads, label=short(label), **look)


def level(axes: Axes, values: Sequence[float], number: int, label: str) -> None:
    """A level line at the mean, with a band as wide as the standard deviation on both sides."""
    middle, spread = mean(values), stdev(values) if len(values) > 1 else 0.0
    axes.axhline(middle, color=colour(number), lw=1.2, ls=":", label=short(label))
    axes.axhspan(middle - spread, middle + spread, color=colour(number), alpha=0.12, lw=0)


def dense_line(axes: Axes, quality: float | None) -> None:
    """Where the dense model is, if that is known."""
    if quality is not None:
        axes.axhline(quality, color=INK, lw=1, ls="--", label="dense")
