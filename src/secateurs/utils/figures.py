"""What the pictures of a page share: SVG text that takes its ink from the page."""

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

WIDTH = 9  # inches of a picture as wide as the page
INK = "#010203"  # replaced by currentColor, so that one picture serves a light and a dark page
COLOURS = ("#2a9d8f", "#e9873d", "#5b7fd1", "#c44f7b", "#8a8f3c", "#7a5cc0")
MARKERS = "osD^vPX"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollar signs
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
    """The colour of the criterion with this number."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """Its marker; together with the colour it stays the only one of its kind for a good while."""
    return MARKERS[number % len(MARKERS)]


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend above everything else."""
    figure.legend(handles, labels, loc="outside upper left", ncols=7, frameon=False)


def short(name: str, length: int = 24) -> str:
    """A name with its middle left out if it is too long to stand beside a picture."""
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-(length // 2) :]}"


def panels(figure: Figure, number: int, columns: int, **options: Any) -> list[Axes]:
    """This many panels, line by line; see `Figure.subplots` for what else there is."""
    grid = list(figure.subplots(-(-number // columns), columns, squeeze=False, **options).flat)
    for axes in grid[number:]:
        axes.set_visible(False)
    return grid[:number]


def heat(
    axes: Axes,
    values: np.ndarray,
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    colours: str = "YlGnBu",
    size: float = 7,
) -> Any:
    """Values in [0, 1] as a grid of coloured cells with texts in them; nan stays empty.

    Args:
        axes: to draw on.
        values: [rows, columns].
        columns: the names of the columns, shown on top.
        texts: of the cells.
        colours: name of the colour map.
        size: of the texts, in points.

    Returns:
        What a colour bar is made from.
    """
    from matplotlib import colormaps

    mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=1, edgecolors="none")
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(columns)) + 0.5, list(map(short, columns)))
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


def svg(figure: Figure, title: str) -> str:
    """The figure as an <svg> element that scales with the page and names itself to screen readers."""
    from matplotlib import rc_context

    text = StringIO()
    with rc_context({"svg.hashsalt": title}):  # makes ids that differ between the pictures of a page, not between runs
        figure.savefig(text, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    width = re.search(r'<svg[^>]*? width="([\d.]+)pt"', svg)
    share = min(1.0, float(width[1]) / (72 * WIDTH)) if width else 1.0  # what is cut off must not make the rest larger
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    style = f"width: {share:.1%}; min-width: {34 * share:.1f}rem"
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}" style="{style}"', 1)
