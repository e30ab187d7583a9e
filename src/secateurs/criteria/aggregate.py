"""Aggregates: functions that combine the scores of a unit in several layers into one score."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

AGGREGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda scores: scores.mean(0),
    "max": lambda scores: scores.amax(0),
    "sum": lambda scores: scores.sum(0),
}
"""The aggregates by name. Each maps the scores in several layers, [layers, units], to one score per unit, [units]."""

AUTO = "auto"
"""The name of the automatic choice: "sum" for criteria of the scope "per-cost", and "mean" for all other criteria."""
