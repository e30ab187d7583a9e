"""Tidy tables: one record per measurement, and one per criterion, budget and stage for mean and spread."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from statistics import mean, stdev
from typing import Any

from secateurs.experiments.report.comparison import Comparison
from secateurs.structure import Cost

Record = Mapping[str, Any]


def records(comparison: Comparison) -> list[Record]:
    """One record per criterion, budget, seed and stage, the dense model first; None if not measured."""
    metric, dense = comparison.metric.name, comparison.dense
    times = [outcome.latency[0] for outcome in comparison.outcomes if outcome.latency]
    latency = (mean(times), mean(times)) if times else None
    names = {"criterion": "dense", "budget": None, "seed": None, "stage": "dense", metric: comparison.quality}
    table: list[Record] = [names | _costs(dense, latency, dense)]
    for outcome in comparison.outcomes:
        names = {"criterion": outcome.criterion, "budget": outcome.budget, "seed": outcome.seed}
        costs = _costs(outcome.cost, outcome.latency, dense)
        table += [{**names, "stage": s, metric: outcome.quality.get(s), **costs} for s in comparison.stages or ["cut"]]
    return table


def summary(comparison: Comparison) -> list[Record]:
    """One record per criterion, budget and stage: mean, standard deviation and number of values, and mean costs."""
    table: list[Record] = []
    for row in comparison.rows:
        costs = [_costs(outcome.cost, outcome.latency, comparison.dense) for outcome in row.outcomes]
        means = {name: _mean([cost[name] for cost in costs if cost[name] is not None]) for name in costs[0]}
        for stage in comparison.stages or ["cut"]:
            values = row.quality(stage)
            spread = {"n": len(values), "mean": _mean(values), "std": stdev(values) if len(values) > 1 else None}
            table.append({"criterion": row.criterion, "budget": row.budget, "stage": stage, **spread, **means})
    return table


def to_csv(table: Sequence[Record]) -> str:
    """Records as CSV with a header; None is empty."""
    text = StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def _costs(cost: Cost, latency: tuple[float, float] | None, dense: Cost) -> dict[str, Any]:
    pairs = {"macs": (dense.macs, cost.macs), "params": (dense.params, cost.params), "latency": latency or (None, None)}
    ratios = {f"{name}_ratio": after / before if before else None for name, (before, after) in pairs.items()}
    return {name: after for name, (_, after) in pairs.items()} | ratios


def _mean(values: Sequence[float]) -> float | None:
    return mean(values) if values else None
