"""Aggregates: the ways to combine the scores of a unit in several layers, or at several places."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

AGGREGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda scores: scores.mean(0),
    "max": lambda scores: scores.amax(0),
    "sum": lambda scores: scores.sum(0),
}
"""Name to function from scores [layers, units] to scores [units]."""

AUTO = "auto"
"""Chooses the aggregate by the criterion: "sum" for the scope "per-cost", "mean" for all other scopes."""
