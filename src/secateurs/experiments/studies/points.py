"""Points with error bars: several series side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np

from secateurs.experiments.report import BAR
from secateurs.utils import colour, marker, shorten

if TYPE_CHECKING:  # matplotlib is an extra
    from matplotlib.axes import Axes


def points(axes: Axes, series: Mapping[str, Mapping[str, Sequence[float]]], scale: float = 1.0) -> None:
    """Draw mean and standard deviation of repetitions: one position per name, one colour per series.

    Args:
        axes: to draw on.
        series: for each label and name, one value per repetition; all series have the same names.
        scale: factor for all values.
    """
    names = list(next(iter(series.values())))
    step = 0.6 / len(series)
    for number, (label, values) in enumerate(series.items()):
        places = np.arange(len(names)) + step * (number - (len(series) - 1) / 2)
        heights = [scale * mean(values[name]) for name in names]
        errors = [scale * stdev(values[name]) if len(values[name]) > 1 else 0.0 for name in names]
        look = {"ls": "", "color": colour(number), "marker": marker(number), "label": label, **BAR}
        axes.errorbar(places, heights, errors, **look)
    axes.set_xticks(range(len(names)), list(map(shorten, names)), rotation=30, ha="right")
