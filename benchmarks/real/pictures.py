"""Pictures of lines, in the style of the product's report: SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.real import peer
from benchmarks.real.record import Line
from secateurs.utils.figures import INK, STYLE, WIDTH, colour, legend, marker, render_svg


class Picture(NamedTuple):
    """What is drawn, under the name of its file and for those who cannot see it; and the SVG."""

    name: str
    title: str
    svg: str


class Curve(NamedTuple):
    """A method, at a stage."""

    method: str
    stage: str


def curves(
    name: str, title: str, lines: Sequence[Line], of: Sequence[Curve], budgets: Sequence[str], dense: float
) -> Picture:
    """Accuracy against the share of the MACs: mean over seeds, with the standard deviation; Torch-Pruning's dashed."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for number, (method, stage) in enumerate(of):
            points = []
            for budget in budgets:
                settings = {"method": method, "budget": budget}
                found = [100 * its.figures[stage] for its in lines if settings.items() <= its.settings.items()]
                if found:
                    points.append((100 * float(budget.removeprefix("macs:")), *_centre(found)))
            look = {"color": colour(number), "marker": marker(number), "ecolor": INK, "elinewidth": 0.8, "capsize": 2}
            look["ls"] = "--" if method.startswith(peer.NAME) else "-"
            if points:
                shares, heights, errors = zip(*points, strict=True)
                axes.errorbar(shares, heights, errors, label=f"{method}: {stage}", ms=5, **look)
        axes.axhline(100 * dense, color=INK, lw=0.8, ls=":")
        axes.set_xlabel("MACs left, %")
        axes.set_ylabel("accuracy, %")
        axes.invert_xaxis()
        axes.legend(frameon=False, fontsize=8)
        return Picture(name, title, render_svg(figure, title))


def dots(name: str, title: str, rows: Mapping[str, Sequence[Line]], stages: Sequence[str], dense: float) -> Picture:
    """Accuracy of each row at each stage: mean over seeds, with the standard deviation; a line is the dense network."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.8 + 0.19 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for number, stage in enumerate(stages):
            look = {"color": colour(number), "ecolor": INK, "elinewidth": 0.8, "capsize": 2, "ms": 5}
            points = []
            for place, its in enumerate(rows.values()):
                found = [100 * line.figures[stage] for line in its if stage in line.figures]
                if found:
                    points.append((place, *_centre(found)))
            places, centres, errors = zip(*points, strict=True)
            axes.errorbar(centres, places, xerr=errors, fmt=marker(number), label=stage, **look)
        axes.axvline(100 * dense, color=INK, lw=0.8, ls=":")
        axes.set_yticks(range(len(rows)), list(rows), fontsize=7)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("accuracy, %")
        axes.grid(axis="y", lw=0.3)
        legend(figure, *axes.get_legend_handles_labels())
        return Picture(name, title, render_svg(figure, title))


def _centre(values: Sequence[float]) -> tuple[float, float]:
    return fmean(values), stdev(values) if len(values) > 1 else 0.0
