"""The main figures of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.outcome import Row

ALL = 4  # rows up to which each has a headline; above, the best of each budget


@dataclass(frozen=True)
class Headline:
    """The main figure of one criterion and budget, with others below it.

    Attributes:
        title: criterion and budget.
        figure: the main figure.
        lines: further figures.
    """

    title: str
    figure: str
    lines: list[str]


def headlines(comparison: Comparison) -> list[Headline]:
    """One headline per row; for many rows, the best criterion of each budget, compared with random if it was run."""
    if len(comparison.rows) <= ALL:
        return [_headline(comparison, row) for row in comparison.rows]
    best_rows = []
    for budget in comparison.budgets:
        rows = [row for row in comparison.at(budget) if _final(comparison, row)]
        if rows:
            sign = 1 if comparison.metric.higher_is_better else -1
            best = max(rows, key=lambda row: sign * mean(_final(comparison, row)))
            chance = [comparison.metric.text(_final(comparison, row)) for row in rows if row.criterion == "random"]
            lines = [f"best of {len(rows)} criteria in the end", *(f"random ends at {text}" for text in chance)]
            best_rows.append(_headline(comparison, best, lines))
    return best_rows


def _headline(comparison: Comparison, row: Row, lines: Sequence[str] = ()) -> Headline:
    words = {"MACs": "× fewer MACs", "parameters": "× fewer parameters", "latency": "× as fast"}
    costs = [f"{1 / mean(row.ratios(c, comparison.dense)):.2f} {words[c]}" for c in row.costs(comparison.dense)]
    values = [[] if comparison.quality is None else [comparison.quality], *map(row.quality, comparison.ends)]
    course = " → ".join(comparison.metric.text(value) for value in values if value)
    quality = [f"{comparison.metric.name} {course}"] if comparison.stages else []
    return Headline(comparison.label(row), costs[0], [*costs[1:], *quality, *lines])


def _final(comparison: Comparison, row: Row) -> list[float]:
    return row.quality(comparison.stages[-1]) if comparison.stages else []
