"""Pictures of studies as files of their own, and the parts that they share."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

from secateurs.utils import INK, colour, marker, render_svg, shorten

if TYPE_CHECKING:  # matplotlib is an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def standalone(figure: Figure, title: str) -> str:
    """The figure as the text of an SVG file."""
    return on_white(render_svg(figure, title))


def on_white(svg: str) -> str:
    """Give the SVG text of a page a white background and dark ink."""
    return svg.replace('style="', 'style="color: #222222; background: #ffffff; ', 1)


def curve(axes: Axes, x: Sequence[float], values: Sequence[Sequence[float]], number: int, label: str) -> None:
    """Draw a line through means, with standard deviations as error bars.

    Args:
        axes: to draw on.
        x: position of each point.
        values: several values for each point.
        number: of the line; chooses the colour and the marker.
        label: name of the line.
    """
    means, spreads = [mean(point) for point in values], [stdev(point) if len(point) > 1 else 0.0 for point in values]
    look = {"color": colour(number), "marker": marker(number), "ms": 4, "capsize": 2, "elinewidth": 0.8}
    axes.errorbar(x, means, spreads, label=shorten(label), **look)


def level(axes: Axes, values: Sequence[float], number: int, label: str) -> None:
    """Draw a horizontal line at the mean, with a band of one standard deviation on both sides."""
    middle, spread = mean(values), stdev(values) if len(values) > 1 else 0.0
    axes.axhline(middle, color=colour(number), lw=1.2, ls=":", label=shorten(label))
    axes.axhspan(middle - spread, middle + spread, color=colour(number), alpha=0.12, lw=0)


def dense_line(axes: Axes, quality: float | None) -> None:
    """Draw a horizontal line at the quality of the dense model, if it was measured."""
    if quality is not None:
        axes.axhline(quality, color=INK, lw=1, ls="--", label="dense")
