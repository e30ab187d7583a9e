"""Pictures of units: widths of the layers, distributions of scores, and agreement of criteria."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateurs.experiments.report.agreement import agreement
from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.figure import page_figure
from secateurs.experiments.report.outcome import Outcome
from secateurs.utils import INK, colour, draw_heatmap, legend, panels, render_svg, shorten

REMOVED = "#b9bec6"
BARS = 4  # rows up to which widths are shown as bars; above, as a heat map
LABEL = "Units per group before and after pruning"


def widths(comparison: Comparison) -> str:
    """Units per group: bars for a few rows, else a heat map of the kept shares with one panel per budget."""
    return _width_bars(comparison) if len(comparison.rows) <= BARS else _width_heat(comparison)


def _width_bars(comparison: Comparison) -> str:
    groups, rows = list(comparison.units), comparison.rows
    height = 0.8 / len(rows)
    with page_figure(max(2.5, 0.32 * len(groups) * max(1, len(rows) * 0.45))) as figure:
        axes = figure.add_subplot()
        positions = np.arange(len(groups))
        axes.barh(positions, list(comparison.units.values()), 0.86, color="none", edgecolor=INK, lw=0.8, label="dense")
        for number, row in enumerate(rows):
            offset = (number - (len(rows) - 1) / 2) * height
            values = list(row.widths(comparison.units).values())
            axes.barh(
                positions + offset, values, height * 0.9, color=colour(number), label=shorten(comparison.label(row))
            )
        axes.set_yticks(positions, [shorten(group, 40) for group in groups])
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.set_xlabel("units")
        legend(figure, *axes.get_legend_handles_labels())
        return render_svg(figure, LABEL)


def _width_heat(comparison: Comparison) -> str:
    units, budgets = comparison.units, comparison.budgets
    columns = min(len(budgets), max(1, 20 // len(comparison.criteria)))
    lines = -(-len(budgets) // columns)
    with page_figure((1.6 + 0.22 * len(units)) * lines) as figure:
        for budget, axes in zip(budgets, panels(figure, len(budgets), columns, sharey=True), strict=True):
            rows = comparison.at(budget)
            kept = np.array([[width / units[name] for name, width in row.widths(units).items()] for row in rows]).T
            texts = [[f"{100 * share:.0f}" for share in line] for line in kept]
            draw_heatmap(axes, kept, [row.criterion for row in rows], texts)
            axes.tick_params(axis="x", labelrotation=90)
            axes.set_yticks(np.arange(len(units)) + 0.5, [shorten(group, 40) for group in units])
            axes.set_xlabel(budget)
        return render_svg(figure, LABEL)


def scores(comparison: Comparison) -> str:
    """For each criterion, a histogram of the scores of kept and removed units, and the highest removed score."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = scored(comparison)
    columns = min(len(shown), 3)
    lines = -(-len(shown) // columns)
    with page_figure(0.4 + 2.2 * lines) as figure:
        for outcome, axes in zip(shown, panels(figure, len(shown), columns), strict=True):
            _histogram(axes, outcome, colour(comparison.criteria.index(outcome.criterion)))
            axes.set_title(f"{shorten(outcome.criterion)}, {outcome.budget}", fontsize=10)
        figure.supxlabel("score", fontsize=9)
        figure.supylabel("units", fontsize=9)
        handles = [Patch(color=REMOVED), Patch(color=INK, alpha=0.6), Line2D([], [], color=INK, lw=1, ls="--")]
        legend(figure, handles, ["removed", "kept (in the criterion's colour)", "highest score removed"])
        return render_svg(figure, "Distribution of scores, kept and removed")


def scored(comparison: Comparison) -> list[Outcome]:
    """The first outcome of each criterion that has scores."""
    first: dict[str, Outcome] = {}
    for outcome in comparison.outcomes:
        if outcome.scores:
            first.setdefault(outcome.criterion, outcome)
    return list(first.values())


def _histogram(axes: Any, outcome: Outcome, kept_colour: str) -> None:
    kept, removed = [], []
    for group, values in outcome.scores.items():
        stays = set(outcome.keep.get(group, range(len(values))))
        for unit, value in enumerate(values):
            (kept if unit in stays else removed).append(value)
    low, high = np.percentile(kept + removed, [1, 99])
    bins = list(np.linspace(low, high + 1e-12 * max(1, abs(high)), 31))
    axes.hist(
        [np.clip(values, low, high) for values in (removed, kept)], bins, stacked=True, color=[REMOVED, kept_colour]
    )
    if removed:
        axes.axvline(np.clip(max(removed), low, high), color=INK, lw=1, ls="--")


def agreements(comparison: Comparison) -> str:
    """Overlap of the units that two criteria remove, and the overlap by chance; one panel per budget."""
    budgets, count = comparison.budgets, len(comparison.criteria)
    columns = min(len(budgets), max(1, 18 // count))
    lines = -(-len(budgets) // columns)
    cell = min(0.6, 7.5 / (columns * count))
    with page_figure(lines * (1.6 + cell * count)) as figure:
        for number, (budget, axes) in enumerate(zip(budgets, panels(figure, len(budgets), columns), strict=True)):
            names = [row.criterion for row in comparison.at(budget)]
            overlaps, chance = agreement(comparison.at(budget), comparison.units)
            texts = [[f"{a:.2f}\n({b:.2f})" for a, b in pairs] for pairs in np.stack([overlaps, chance], 2)]
            above = np.clip((overlaps - chance) / (1 - chance + 1e-12), 0, 1)
            draw_heatmap(axes, above, names, texts)
            axes.tick_params(axis="x", labelrotation=90)
            first = number % columns == 0 or names != comparison.criteria
            axes.set_yticks(np.arange(len(names)) + 0.5, list(map(shorten, names)) if first else [""] * len(names))
            axes.set_aspect("equal")
            axes.set_xlabel(budget)
        return render_svg(figure, "Overlap of the units that criteria remove")
