"""The sections of a report, in the order in which the page and the text show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from secateurs.experiments.report import curves, units
from secateurs.experiments.report.comparison import Comparison, count
from secateurs.utils import Number, Table


@dataclass(frozen=True)
class Section:
    """A heading and the content below it.

    Attributes:
        title: the heading.
        notes: paragraphs.
        table: headers and rows; the first column holds names.
        picture: draws a picture, as SVG text.
    """

    title: str
    notes: Sequence[str] = ()
    table: Table | None = None
    picture: Callable[[Comparison], str] | None = None


def sections(comparison: Comparison) -> list[Section]:
    """All sections that have content."""
    parts = (_results, _against_cost, _damage, _failed, _warnings, _rounds, _effective, _compensation)
    parts += (_widths, _scores, _agreement, _frozen, _provenance)
    return [section for part in parts for section in part(comparison)]


def _results(c: Comparison) -> Iterator[Section]:
    if c.rows:
        bars = len(c.budgets) == 1 and c.stages
        yield Section("Results", c.notes, c.table(), curves.by_stage if bars else None)


def _against_cost(c: Comparison) -> Iterator[Section]:
    if len(c.budgets) > 1 and c.stages and c.costs:
        note = "Mean and standard deviation over seeds. The star is the dense model."
        yield Section(f"{c.metric.title} against cost", [note], picture=curves.against_cost)


def _damage(c: Comparison) -> Iterator[Section]:
    if len(c.ends) < 2:
        return
    (first, last), metric = c.ends, c.metric
    rows = []
    for row in c.rows:
        qualities = [outcome.quality for outcome in row.outcomes if {first, last} <= set(outcome.quality)]
        pairs = [(quality[first], quality[last]) for quality in qualities]
        lost = [] if c.quality is None else [metric.lost(c.quality, before) for before, _ in pairs]
        missing = [] if c.quality is None else [metric.lost(c.quality, after) for _, after in pairs]
        regained = [metric.lost(after, before) for before, after in pairs]
        rows.append([row.criterion, row.budget, *map(metric.cell, (lost, regained, missing))])
    note = f"Lost: {metric.name} of the dense model minus {metric.name} after the cut. Regained: by recovery. Missing: "
    note += "the rest." + (" All in percentage points." if metric.percent else "")
    table = (["criterion", "budget", "lost", "regained", "missing"], rows)
    yield Section("Damage and recovery", [note], table, curves.damage if len(c.rows) > 1 else None)


def _failed(c: Comparison) -> Iterator[Section]:
    if c.failed:
        yield Section("Failed runs", table=(["run", "error"], _lines(c.failed)))


def _warnings(c: Comparison) -> Iterator[Section]:
    if c.warnings:
        yield Section("Warnings", c.warnings)


def _rounds(c: Comparison) -> Iterator[Section]:
    rows = []
    for row in c.rows:
        for number, after in enumerate(row.outcomes[0].rounds, 1):
            costs = [Number(count(n), n) for n in (after.cost.macs, after.cost.params)]
            quality = [c.metric.cell([after.quality[stage]] if stage in after.quality else []) for stage in c.stages]
            rows.append([c.label(row), _number(number), *costs, *quality])
    if rows:
        headers = ["criterion", "round", "MACs", "parameters", *c.stages]
        yield Section("Round by round", _of_first_seed(c), (headers, rows))


def _effective(c: Comparison) -> Iterator[Section]:
    rows = []
    for row in c.rows:
        for name, group in row.outcomes[0].effective.items():
            cells = [_number(group.components), _number(group.n_eff, ".1f"), _number(group.beta)]
            cells += [_number(group.cv, ".2f"), _number(group.kept)]
            shares = [_percent(group.mass), "" if group.bound is None else _percent(group.bound)]
            rows.append([c.label(row), name, *cells, *shares])
    if rows:
        notes = [
            "N_eff = 1 / Σ ω², where ω are the scores divided by their sum; N / N_eff = 1 + CV². The kept mass is the "
            "share of the sum of the scores, not of the loss."
        ]
        for row in c.rows:
            loss = row.outcomes[0].loss
            if loss is not None and c.loss is not None:
                notes.append(f"{c.label(row)}: the measured mean loss changed from {c.loss:.4f} to {loss:.4f}.")
        headers = ["criterion", "group", "units", "N_eff", "β", "CV", "kept", "kept mass", "at least (Prop. 1)"]
        yield Section("Effective units", notes + _of_first_seed(c), (headers, rows))


def _compensation(c: Comparison) -> Iterator[Section]:
    rows = [
        [c.label(row), weight, *map(_percent, errors)]
        for row in c.rows
        for weight, errors in row.outcomes[0].compensation.items()
    ]
    if rows:
        note = (
            "Error of the output of each weight without the removed units (root mean square, relative to the output), "
            "before and after compensation."
        )
        headers = ["criterion", "weight", "error", "after compensation"]
        yield Section("Compensation by the remaining units", [note, *_of_first_seed(c)], (headers, rows))


def _widths(c: Comparison) -> Iterator[Section]:
    if c.rows and c.units:
        widths = [c.units, *(row.widths(c.units) for row in c.rows)]
        rows = [[group, *(_number(round(width[group], 1)) for width in widths)] for group in c.units]
        key = "The outline is the dense model" if len(c.rows) <= units.BARS else "Colours: percentage of units kept"
        note = f"A group is named after the first layer that produces its units. {key}."
        headers = ["group", "dense", *map(c.label, c.rows)]
        yield Section("Widths, layer by layer", [note], (headers, rows), units.widths)


def _scores(c: Comparison) -> Iterator[Section]:
    if units.scored(c):
        note = (
            "All units of all groups; each criterion has its own scale. The outermost bars contain all scores beyond "
            "the 1st and the 99th percentile. Kept and removed scores overlap where each group has its own threshold."
        )
        yield Section("Scores and the threshold", [note, *_of_first_seed(c)], picture=units.scores)


def _agreement(c: Comparison) -> Iterator[Section]:
    if len(c.criteria) > 1:
        note = (
            "Of the units that either of two criteria removes, the share that both remove. In brackets: the expected "
            "share for random draws of equally many units from each group. Two criteria are compared with equal seeds, "
            "a criterion with itself between different seeds. Colours: from chance to complete agreement."
        )
        yield Section("Agreement of criteria", [note], picture=units.agreements)


def _frozen(c: Comparison) -> Iterator[Section]:
    if c.frozen:
        yield Section("Axes that cannot be pruned", table=(["axis", "reason"], _lines(c.frozen)))


def _provenance(c: Comparison) -> Iterator[Section]:
    yield Section("Environment", table=(["component", "value"], _lines(c.provenance)))


def _of_first_seed(c: Comparison) -> list[str]:
    return ["Shown for the first seed."] if any(len(row.outcomes) > 1 for row in c.rows) else []


def _lines(pairs: Mapping[str, str]) -> list[list[str]]:
    return [list(pair) for pair in pairs.items()]


def _number(value: float, form: str = "g") -> str:
    return Number(f"{value:{form}}", value)


def _percent(share: float) -> str:
    return Number(f"{100 * share:.1f} %", share)
