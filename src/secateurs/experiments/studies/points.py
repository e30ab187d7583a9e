"""Points with error bars, side by side: several series of the same things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

import numpy as np
from matplotlib.axes import Axes

from secateurs.experiments.report import BAR
from secateurs.utils import colour, marker, short


def points(axes: Axes, series: Mapping[str, Mapping[str, Sequence[float]]], scale: float = 1.0) -> None:
    """Draw mean and standard deviation of repetitions: a place along the axis per name, a colour per series.

    Args:
        axes: to draw on.
        series: label to name to values, one per repetition; all have the same names.
        scale: that values are multiplied by.
    """
    names = list(next(iter(series.values())))
    step = 0.6 / len(series)
    for number, (label, its) in enumerate(series.items()):
        places = np.arange(len(names)) + step * (number - (len(series) - 1) / 2)
        heights = [scale * mean(its[name]) for name in names]
        errors = [scale * stdev(its[name]) if len(its[name]) > 1 else 0.0 for name in names]
        look = {"ls": "", "color": colour(number), "marker": marker(number), "label": label, **BAR}
        axes.errorbar(places, heights, errors, **look)
    axes.set_xticks(range(len(names)), list(map(short, names)), rotation=30, ha="right")
