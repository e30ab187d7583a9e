"""What the schedule study reports: accuracies of schedules, as a sentence, a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping

from secateurs.experiments.report import Comparison, page_figure
from secateurs.experiments.studies.picture import curve, dense_line, standalone
from secateurs.experiments.studies.sweeping import STAGE_TEXTS, cells, dense_cells, gap, paired, row_of
from secateurs.experiments.studies.variants import Variant
from secateurs.experiments.studies.wording import side
from secateurs.utils import legend

Results = Mapping[Variant, Comparison]
"""A comparison for each schedule, one shot first."""


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: the dense model, then one row per criterion and schedule."""
    first = next(iter(results.values()))
    rows = [
        [name, variant.name, *cells(comparison, row_of(comparison, name))]
        for name in first.criteria
        for variant, comparison in results.items()
    ]
    return ["criterion", "schedule", "MACs left", *first.stages], [["dense", "", *dense_cells(first)], *rows]


def sentence(results: Results) -> str:
    """Count where rounds end above one shot and where below, and compare SSI with its reverse."""
    one_shot, *others = results
    stage = results[one_shot].ends[-1]
    texts = []
    for trained, kind in ((False, "rounds without training in between"), (True, "rounds with training in between")):
        sides = {
            f"{name} in {variant.rounds}": side(
                paired(row_of(results[variant], name), row_of(results[one_shot], name), stage)
            )
            for variant in others
            if bool(variant.between) == trained
            for name in results[variant].criteria
        }
        texts.append(f"{kind} end above one shot for {_list(sides, 'above')} and below it for {_list(sides, 'below')}")
    for variant in (one_shot, [variant for variant in others if not variant.between][-1]):
        if {"ssi", "reversed-ssi"} <= set(results[variant].criteria):
            ssi, control = (row_of(results[variant], name) for name in ("ssi", "reversed-ssi"))
            texts.append(f"in {variant.name}, ssi is {gap(ssi, control, stage)}")
    return f"With equal epochs, {STAGE_TEXTS[stage]}, {'; '.join(texts)}."


def picture(results: Results) -> str:
    """Accuracy against the number of rounds, without training in between and with it, as SVG text."""
    one_shot, *others = results
    first = results[one_shot]
    with page_figure(0.4 + 2.6 * len(first.ends)) as figure:
        grid = figure.subplots(len(first.ends), 2, squeeze=False, sharey="row")
        for line, stage in zip(grid, first.ends, strict=True):
            for axes, trained in zip(line, (False, True), strict=True):
                shown = [one_shot, *(variant for variant in others if bool(variant.between) == trained)]
                for number, criterion in enumerate(first.criteria):
                    values = [row_of(results[variant], criterion).quality(stage) for variant in shown]
                    curve(axes, [variant.rounds for variant in shown], values, number, criterion)
                dense_line(axes, first.quality)
                axes.set_title("trained between rounds" if trained else "no updates between rounds", fontsize=10)
                axes.set_xlabel("rounds")
            line[0].set_ylabel(f"{first.metric.name}, {STAGE_TEXTS[stage]}")
        legend(figure, *grid[0, 0].get_legend_handles_labels())
        return standalone(figure, "accuracy against the number of rounds")


def _list(sides: Mapping[str, str], wanted: str) -> str:
    names = [pair for pair, text in sides.items() if text == wanted]
    return f"{len(names)} of {len(sides)} pairs of criterion and rounds" + (f" ({', '.join(names)})" if names else "")
