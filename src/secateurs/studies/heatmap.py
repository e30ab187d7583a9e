"""The picture of a study: one coloured cell per criterion and kind."""

from __future__ import annotations

from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from secateurs.report.figures import STYLE, heat

INK = "#222222"
LOOK: dict[Any, Any] = {**STYLE, **{name: INK for name in STYLE if name.endswith("color")}}


def heatmap(title: str, rows: list[str], columns: list[str], values: np.ndarray) -> str:
    """Areas under the curve as a heat map, in SVG on white, so that it can stand alone.

    Args:
        title: of the picture.
        rows, columns: their names.
        values: in [0, 1], [rows, columns].
    """
    with rc_context({**LOOK, "svg.hashsalt": title}):  # the same values make the same file
        figure = Figure(figsize=(8, 1 + 0.24 * len(rows)))
        axes = figure.add_subplot()
        texts = [[f"{value:.2f}" for value in line] for line in values]
        image = heat(axes, values, columns, texts, "RdBu", size=9)
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        bar = figure.colorbar(image, ax=axes, label="area under the curve; 0.5 is chance", shrink=0.6)
        bar.outline.set_visible(False)  # type: ignore[attr-defined]
        text = StringIO()
        figure.savefig(text, format="svg", bbox_inches="tight", facecolor="white", metadata={"Date": None})
    return text.getvalue()
