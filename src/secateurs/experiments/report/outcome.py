"""Outcomes: one per pruned model, and rows of outcomes that differ only in the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import ClassVar

from pydantic import ConfigDict

from secateurs.budgets import Certificate
from secateurs.structure import Cost
from secateurs.utils import Number, format_mean

STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Metric:
    """The metric of the quality of a model.

    Attributes:
        name: for headings.
        percent: whether values are shares, shown in per cent.
        higher_is_better: whether higher values are better; not so for a loss.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str = "accuracy"
    percent: bool = True
    higher_is_better: bool = True

    @property
    def title(self) -> str:
        """The name at the beginning of a heading."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def scale(self) -> float:
        """The factor by which values are multiplied for display."""
        return 100.0 if self.percent else 1.0

    def text(self, values: Sequence[float]) -> str:
        """Mean and, for several values, standard deviation."""
        return format_mean(values, 1, self.scale, " %") if self.percent else format_mean(values, 3)

    def cell(self, values: Sequence[float]) -> str:
        """The same as a table cell, which is sorted by the mean."""
        return Number(self.text(values), mean(values)) if values else ""

    def lost(self, before: float, after: float) -> float:
        """The loss of quality between two values; positive if the second is worse."""
        return before - after if self.higher_is_better else after - before


@dataclass(frozen=True)
class RoundOutcome:
    """The model after one round of an iterative run.

    Attributes:
        cost: of the model.
        widths: units left, per group.
        quality: per stage, if measured.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    cost: Cost
    widths: Mapping[str, int]
    quality: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """One pruned model: one criterion at one budget with one seed.

    Attributes:
        criterion: name of the criterion.
        budget: the requested budget.
        seed: of all random choices.
        cost: of the pruned model.
        latency: seconds per forward pass of the dense and the pruned model, measured in turns; None if not measured.
        quality: per stage ("cut", "recalibrated", "recovered"), if measured.
        keep: per group, the units kept; groups not named keep all units.
        scores: per group, the units' scores.
        loss: mean loss right after the cut (and compensation), if measured.
        effective: the effective number of units, per group or for all groups.
        compensation: per weight, the error of its output before and after compensation.
        rounds: the model after each round of an iterative run.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    criterion: str
    budget: str
    seed: int
    cost: Cost
    latency: tuple[float, float] | None
    quality: Mapping[str, float]
    keep: Mapping[str, Sequence[int]]
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    loss: float | None = None
    effective: Mapping[str, Certificate] = field(default_factory=dict)
    compensation: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rounds: Sequence[RoundOutcome] = ()


@dataclass(frozen=True)
class Row:
    """The outcomes of one criterion at one budget, one per seed."""

    criterion: str
    budget: str
    outcomes: Sequence[Outcome]

    def quality(self, stage: str) -> list[float]:
        """The values at a stage, one per seed for which it was measured."""
        return [outcome.quality[stage] for outcome in self.outcomes if stage in outcome.quality]

    def costs(self, dense: Cost) -> dict[str, list[tuple[float, float]]]:
        """Pairs of MACs, parameters and latency of the dense model and of each pruned model, if both were measured."""
        pairs: dict[str, list[tuple[float, float]]] = {
            "MACs": [(dense.macs, outcome.cost.macs) for outcome in self.outcomes],
            "parameters": [(dense.params, outcome.cost.params) for outcome in self.outcomes],
            "latency": [outcome.latency for outcome in self.outcomes if outcome.latency],
        }
        return {name: values for name, values in pairs.items() if values and values[0][0]}

    def ratios(self, cost: str, dense: Cost) -> list[float]:
        """The share of the dense model's "MACs", "parameters" or "latency" that is left, one value per seed."""
        return [after / before for before, after in self.costs(dense).get(cost, [])]

    def widths(self, units: Mapping[str, int]) -> dict[str, float]:
        """Units left per group, mean over the seeds.

        Args:
            units: the size of every group of the dense model.
        """
        return {
            group: mean(len(outcome.keep[group]) if group in outcome.keep else size for outcome in self.outcomes)
            for group, size in units.items()
        }
