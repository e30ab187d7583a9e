"""The picture of a study: one coloured cell per criterion and kind."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from secateurs.experiments.studies.picture import standalone
from secateurs.utils import STYLE, heat


def heatmap(title: str, rows: list[str], columns: list[str], values: np.ndarray) -> str:
    """Areas under the curve as a heat map, as SVG text that can stand alone.

    Args:
        title: of the picture.
        rows, columns: their names.
        values: in [0, 1], [rows, columns].
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 1 + 0.24 * len(rows)))
        axes = figure.add_subplot()
        texts = [[f"{value:.2f}" for value in line] for line in values]
        image = heat(axes, values, columns, texts, "RdBu", size=9)
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        bar = figure.colorbar(image, ax=axes, label="area under the curve; 0.5 is chance", shrink=0.6)
        bar.outline.set_visible(False)  # type: ignore[attr-defined]
        return standalone(figure, title)
