"""Heat map of the planted study: one coloured cell per criterion and kind of redundancy."""

from __future__ import annotations

import numpy as np

from secateurs.experiments.report import page_figure
from secateurs.experiments.studies.picture import standalone
from secateurs.utils import draw_heatmap


def heatmap(title: str, rows: list[str], columns: list[str], values: np.ndarray) -> str:
    """Draw areas under the curve as a heat map, as the text of an SVG file.

    Args:
        title: title of the picture.
        rows, columns: names.
        values: areas in [0, 1], shape [rows, columns].
    """
    with page_figure(1 + 0.24 * len(rows), width=8, layout=None) as figure:
        axes = figure.add_subplot()
        texts = [[f"{value:.2f}" for value in line] for line in values]
        image = draw_heatmap(axes, values, columns, texts, "RdBu", size=9)
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        bar = figure.colorbar(image, ax=axes, label="area under the curve; 0.5 is chance", shrink=0.6)
        bar.outline.set_visible(False)  # type: ignore[attr-defined]
        return standalone(figure, title)
