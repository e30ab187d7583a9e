"""A comparison of pruned models: the content of a report, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from secateurs.errors import PersistError
from secateurs.experiments.report.outcome import STRICT, Metric, Outcome, Row
from secateurs.structure import Cost
from secateurs.utils import Number, Table, environment

STAGES = ("cut", "recalibrated", "recovered")


@dataclass(frozen=True)
class Comparison:
    """A dense model and its pruned versions, by one or more criteria, budgets and seeds.

    Attributes:
        title: heading of the report.
        model: class of the model.
        dense: cost of the dense model.
        units: size of each group of the dense model.
        frozen: axes that cannot be pruned, with the reason.
        outcomes: the pruned models.
        command: the command that repeats the comparison.
        quality: quality of the dense model, if measured.
        loss: mean loss of the dense model, if measured.
        metric: the metric of quality.
        notes: explanations for readers.
        warnings: warnings of the library.
        failed: the runs that failed, with the error.
        provenance: versions and hardware.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    title: str
    model: str
    dense: Cost
    units: Mapping[str, int]
    frozen: Mapping[str, str]
    outcomes: Sequence[Outcome]
    command: str
    quality: float | None = None
    loss: float | None = None
    metric: Metric = field(default_factory=Metric)
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=environment)

    @property
    def costs(self) -> list[str]:
        """The costs ("MACs", "parameters", "latency") that are known for the dense model and the pruned ones."""
        return list(dict.fromkeys(cost for row in self.rows for cost in row.costs(self.dense)))

    @property
    def criteria(self) -> list[str]:
        """Names in the order of their first appearance."""
        return list(dict.fromkeys(outcome.criterion for outcome in self.outcomes))

    @property
    def budgets(self) -> list[str]:
        """Names in the order of their first appearance."""
        return list(dict.fromkeys(outcome.budget for outcome in self.outcomes))

    @property
    def stages(self) -> list[str]:
        """The stages at which quality was measured."""
        return [stage for stage in STAGES if any(stage in outcome.quality for outcome in self.outcomes)]

    @property
    def ends(self) -> list[str]:
        """The first and the last stage, or the only one."""
        return list(dict.fromkeys(self.stages[:1] + self.stages[-1:]))

    @property
    def rows(self) -> list[Row]:
        """The outcomes by budget and criterion; each row holds all seeds."""
        cells: dict[tuple[str, str], list[Outcome]] = {(b, c): [] for b in self.budgets for c in self.criteria}
        for outcome in self.outcomes:
            cells[outcome.budget, outcome.criterion].append(outcome)
        return [Row(criterion, budget, outcomes) for (budget, criterion), outcomes in cells.items() if outcomes]

    def at(self, budget: str) -> list[Row]:
        """The rows of one budget."""
        return [row for row in self.rows if row.budget == budget]

    def label(self, row: Row) -> str:
        """The name of a row; with the budget if there are several budgets."""
        return f"{row.criterion}, {row.budget}" if len(self.budgets) > 1 else row.criterion

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain data for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """Read a `report.json`.

        Raises:
            PersistError: the file cannot be read, or is not a report.
        """
        try:
            return TypeAdapter(cls).validate_json(Path(path).read_bytes())
        except OSError as error:
            raise PersistError(f"the report {path} cannot be read: {error}") from error
        except ValidationError as error:
            raise PersistError(f"{path} is not a report: {error}") from error

    def table(self) -> Table:
        """The results: one line per criterion and budget, mean and standard deviation over the seeds."""
        costs = [f"{cost} of {_amount(cost, self._mean(cost, self.rows)[0])}" for cost in self.costs]
        headers = ["criterion", "budget", *costs, *(["dense"] if self.stages else []), *self.stages]
        rows = []
        for row in self.rows:
            values = [row.quality(stage) for stage in self.stages]
            if values:
                values.insert(0, [] if self.quality is None else [self.quality])
            cells = [self._left(cost, row) if cost in row.costs(self.dense) else "" for cost in self.costs]
            rows.append([row.criterion, row.budget, *cells, *map(self.metric.cell, values)])
        return headers, rows

    def _left(self, cost: str, row: Row) -> str:
        before, after = self._mean(cost, [row])
        return Number(f"{_amount(cost, after)} (×{after / before:.2f})", after)

    def _mean(self, cost: str, rows: Sequence[Row]) -> tuple[float, float]:
        """Mean cost of the dense model and of the pruned ones."""
        pairs = [pair for row in rows for pair in row.costs(self.dense).get(cost, [])]
        return mean(before for before, _ in pairs), mean(after for _, after in pairs)


def _amount(cost: str, value: float) -> str:
    return f"{value * 1e3:.2f} ms" if cost == "latency" else count(value)


def count(number: float) -> str:
    """A number to three digits, with k, M, G or T for thousands and so on."""
    unit = 0
    while number >= 999.5:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g}" + (f" {' kMGT'[unit]}" if unit else "")
