"""Shared style and helpers for the SVG figures of the HTML report."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # matplotlib is slow to import, and an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9  # width in inches of a figure that is as wide as the page
INK = "#010203"  # `render_svg` replaces this colour by currentColor, which suits light and dark pages
COLOURS = ("#2a9d8f", "#e9873d", "#5b7fd1", "#c44f7b", "#8a8f3c", "#7a5cc0")
MARKERS = "osD^vPX"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may contain dollar signs
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


def colour(number: int) -> str:
    """The line colour of series `number` (a criterion, for example). Colours repeat after the last one."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """The marker of series `number`. There are 7 markers and 6 colours, so the first 42 series look different."""
    return MARKERS[number % len(MARKERS)]


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Add a legend above the panels of a figure.

    Args:
        figure: the figure.
        handles: one line or marker per entry.
        labels: one text per entry.
    """
    figure.legend(handles, labels, loc="outside upper left", ncols=7, frameon=False)


def shorten(name: str, length: int = 24) -> str:
    """Shorten a name by replacing the middle with an ellipsis.

    Args:
        name: the name.
        length: maximum number of characters, including the ellipsis.
    """
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-(length // 2) :]}"


def panels(figure: Figure, number: int, columns: int, **options: Any) -> list[Axes]:
    """Add a grid of panels to a figure.

    Args:
        figure: the figure.
        number: number of panels.
        columns: panels per row.
        **options: further arguments of `Figure.subplots`.

    Returns:
        The axes of the panels, row by row.
    """
    grid = list(figure.subplots(-(-number // columns), columns, squeeze=False, **options).flat)
    for axes in grid[number:]:
        axes.set_visible(False)
    return grid[:number]


def draw_heatmap(
    axes: Axes,
    values: np.ndarray,
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    colours: str = "YlGnBu",
    size: float = 7,
) -> Any:
    """Draw a heat map of values in [0, 1] with a text in each cell. Cells with the value nan stay empty.

    Args:
        axes: the axes to draw on.
        values: array [rows, columns].
        columns: names of the columns, shown above the heat map.
        texts: text of each cell, [rows][columns].
        colours: name of a matplotlib colour map.
        size: font size of the texts in points.

    Returns:
        The mesh, from which matplotlib makes a colour bar.
    """
    from matplotlib import colormaps

    mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=1, edgecolors="none")
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(columns)) + 0.5, list(map(shorten, columns)))
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, left=False, length=0)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = colormaps[colours](value)
        ink = "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "#222222"
        if not np.isnan(value):
            text = texts[int(row)][int(column)]
            axes.text(
                column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, fontsize=size, in_layout=False
            )
    return mesh


def render_svg(figure: Figure, title: str) -> str:
    """Render a figure as an `<svg>` element that scales with the page.

    Args:
        figure: the figure.
        title: description of the figure for screen readers. It must differ between the figures of a page.

    Returns:
        SVG text.
    """
    from matplotlib import rc_context

    text = StringIO()
    with rc_context({"svg.hashsalt": title}):  # ids differ between the figures of a page but not between runs
        figure.savefig(text, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    width = re.search(r'<svg[^>]*? width="([\d.]+)pt"', svg)
    # A figure that the tight bounding box made narrower is not scaled up to the width of the page.
    share = min(1.0, float(width[1]) / (72 * WIDTH)) if width else 1.0
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    style = f"width: {share:.1%}; min-width: {34 * share:.1f}rem"
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}" style="{style}"', 1)
