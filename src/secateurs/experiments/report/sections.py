"""The parts of a report: what every form of it, page or text, shows in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from secateurs.experiments.report import curves, units
from secateurs.experiments.report.comparison import Comparison, count
from secateurs.utils import Number, Table


@dataclass(frozen=True)
class Section:
    """A heading with what belongs to it.

    Attributes:
        title: the heading.
        notes: paragraphs.
        table: headers and rows; the first column holds names.
        picture: draws it, as SVG text.
    """

    title: str
    notes: Sequence[str] = ()
    table: Table | None = None
    picture: Callable[[Comparison], str] | None = None


def sections(comparison: Comparison) -> list[Section]:
    """All that there is something to say about."""
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
        pairs = [(its.quality[first], its.quality[last]) for its in row.outcomes if {first, last} <= set(its.quality)]
        lost = [] if c.quality is None else [metric.lost(c.quality, before) for before, _ in pairs]
        missing = [] if c.quality is None else [metric.lost(c.quality, after) for _, after in pairs]
        regained = [metric.lost(after, before) for before, after in pairs]
        rows.append([row.criterion, row.budget, *map(metric.cell, (lost, regained, missing))])
    note = f"What the cut took of the dense model's {metric.name}, what recovery gave back, and what is still missing"
    note += ", in percentage points." if metric.percent else "."
    table = (["criterion", "budget", "lost", "regained", "missing"], rows)
    yield Section("Damage and recovery", [note], table, curves.damage if len(c.rows) > 1 else None)


def _failed(c: Comparison) -> Iterator[Section]:
    if c.failed:
        yield Section("What failed", table=(["what", "error"], _lines(c.failed)))


def _warnings(c: Comparison) -> Iterator[Section]:
    if c.warnings:
        yield Section("Warnings", c.warnings)


def _rounds(c: Comparison) -> Iterator[Section]:
    rows = []
    for row in c.rows:
        for number, its in enumerate(row.outcomes[0].rounds, 1):
            costs = [Number(count(n), n) for n in (its.cost.macs, its.cost.params)]
            quality = [c.metric.cell([its.quality[stage]] if stage in its.quality else []) for stage in c.stages]
            rows.append([c.label(row), _number(number), *costs, *quality])
    if rows:
        headers = ["criterion", "round", "MACs", "parameters", *c.stages]
        yield Section("Round by round", _of_first_seed(c), (headers, rows))


def _effective(c: Comparison) -> Iterator[Section]:
    rows = []
    for row in c.rows:
        for name, its in row.outcomes[0].effective.items():
            cells = [_number(its.components), _number(its.n_eff, ".1f"), _number(its.beta), _number(its.cv, ".2f")]
            shares = [_percent(its.mass), "" if its.bound is None else _percent(its.bound)]
            rows.append([c.label(row), name, *cells, _number(its.kept), *shares])
    if rows:
        notes = [
            "N_eff = 1 / Σ ω², with ω the scores divided by their sum; N / N_eff = 1 + CV². The kept mass is a share "
            "of the scores, not of the loss."
        ]
        for row in c.rows:
            loss = row.outcomes[0].loss
            if loss is not None and c.loss is not None:
                notes.append(f"Measured, {c.label(row)}: the mean loss went from {c.loss:.4f} to {loss:.4f}.")
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
            "Error of what each weight puts out for want of the removed units (root mean square, relative to all that "
            "it puts out), before and after compensation."
        )
        headers = ["criterion", "weight", "error", "after compensation"]
        yield Section("What the remaining units took over", [note, *_of_first_seed(c)], (headers, rows))


def _widths(c: Comparison) -> Iterator[Section]:
    if c.rows and c.units:
        widths = [c.units, *(row.widths(c.units) for row in c.rows)]
        rows = [[group, *(_number(round(its[group], 1)) for its in widths)] for group in c.units]
        how = "The outline is the dense model" if len(c.rows) <= units.BARS else "In colour: per cent of the units kept"
        note = f"A group carries the name of the first layer that makes its units. {how}."
        headers = ["group", "dense", *map(c.label, c.rows)]
        yield Section("Widths, layer by layer", [note], (headers, rows), units.widths)


def _scores(c: Comparison) -> Iterator[Section]:
    if units.scored(c):
        note = (
            "Every unit of every group; each criterion has a scale of its own. The outermost bars hold all that lies "
            "beyond the 1st and the 99th percentile. Where each group has a threshold of its own, kept and removed "
            "overlap."
        )
        yield Section("Scores and the threshold", [note, *_of_first_seed(c)], picture=units.scores)


def _agreement(c: Comparison) -> Iterator[Section]:
    if len(c.criteria) > 1:
        note = (
            "Of the units that either of two criteria removes, the share that both remove; in brackets what it would "
            "be had both drawn at random, as many units from each group. Two criteria are compared under the same "
            "seeds, a criterion with itself under different ones. In colour: from chance to all of them."
        )
        yield Section("Which units the criteria agree on", [note], picture=units.agreements)


def _frozen(c: Comparison) -> Iterator[Section]:
    if c.frozen:
        yield Section("Left alone, and why", table=(["axis", "reason"], _lines(c.frozen)))


def _provenance(c: Comparison) -> Iterator[Section]:
    yield Section("Measured with", table=(["what", "which"], _lines(c.provenance)))


def _of_first_seed(c: Comparison) -> list[str]:
    return ["Shown for the first seed."] if any(len(row.outcomes) > 1 for row in c.rows) else []


def _lines(pairs: Mapping[str, str]) -> list[list[str]]:
    return [list(pair) for pair in pairs.items()]


def _number(value: float, form: str = "g") -> str:
    return Number(f"{value:{form}}", value)


def _percent(share: float) -> str:
    return Number(f"{100 * share:.1f} %", share)
