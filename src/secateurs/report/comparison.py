"""What a comparison of pruned models measured: the content of a page or a table, as data."""

from __future__ import annotations

import dataclasses
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import mean, stdev
from typing import Any

from secateurs.certificate import Certificate
from secateurs.costs import Cost

STAGES = ("cut", "recalibrated", "recovered")


@dataclass(frozen=True)
class Row:
    """One pruned model; where there were several seeds, the widths and scores are those of the first.

    Attributes:
        criterion: what scored the units.
        cost: of the pruned model.
        latency: seconds of one forward pass, measured in turn with the dense model's.
        accuracy: per stage ("cut", "recalibrated", "recovered"), one value in [0, 1] per seed.
        widths: units left, per group.
        scores: per group, the units' scores.
        keep: per group, the units that stayed.
        loss: mean loss right after the cut (and compensation), if measured.
        effective: what an effective number of units rests on, per group or for all.
        compensation: per weight, the error of its output before and after compensation.
    """

    criterion: str
    cost: Cost
    latency: float
    accuracy: Mapping[str, Sequence[float]]
    widths: Mapping[str, int]
    scores: Mapping[str, Sequence[float]]
    keep: Mapping[str, Sequence[int]]
    loss: float | None = None
    effective: Mapping[str, Certificate] = field(default_factory=dict)
    compensation: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """One dense model and what became of it under several criteria.

    Attributes:
        title: what was done.
        model: class of the model.
        budget: what was asked for.
        dense: cost of the dense model.
        latency: seconds of one forward pass of the dense model.
        accuracy: of the dense model, if measured.
        loss: mean loss of the dense model, if measured.
        units: per group, its size.
        frozen: what could not be pruned, and why.
        rows: the pruned models.
        command: how to do it again.
        notes: what a reader should know.
    """

    title: str
    model: str
    budget: str
    dense: Cost
    latency: float
    accuracy: float | None
    units: Mapping[str, int]
    frozen: Mapping[str, str]
    rows: Sequence[Row]
    command: str
    notes: Sequence[str] = ()
    loss: float | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: environment())

    @property
    def stages(self) -> list[str]:
        """The stages at which accuracy was measured."""
        return [stage for stage in STAGES if any(stage in row.accuracy for row in self.rows)]

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain data for JSON."""
        return dataclasses.asdict(self)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headers and rows for people to read."""
        headers = ["criterion", "MACs", "parameters", "latency"]
        headers += ["dense", *self.stages] if self.stages else []
        rows = []
        for row in self.rows:
            cells = [
                row.criterion,
                change(self.dense.macs, row.cost.macs, f"{count(self.dense.macs)} → {count(row.cost.macs)}"),
                change(self.dense.params, row.cost.params, f"{count(self.dense.params)} → {count(row.cost.params)}"),
                change(self.latency, row.latency, f"{self.latency * 1e3:.2f} → {row.latency * 1e3:.2f} ms"),
            ]
            if self.stages:
                cells.append("" if self.accuracy is None else f"{self.accuracy:.1%}")
                cells += [spread(row.accuracy.get(stage, ())) for stage in self.stages]
            rows.append(cells)
        return headers, rows


def change(before: float, after: float, text: str) -> str:
    """A change with its ratio."""
    return f"{text} (×{after / before:.2f})" if before else text


def count(number: int) -> str:
    """A number to three digits, with k, M, G or T for thousands and so on."""
    value, unit = float(number), 0
    while value >= 999.5:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g}" + (f" {' kMGT'[unit]}" if unit else "")


def spread(values: Sequence[float]) -> str:
    """Mean and, for several values, standard deviation, in percent."""
    if not values:
        return ""
    deviation = f" ± {stdev(values) * 100:.1f}" if len(values) > 1 else ""
    return f"{mean(values) * 100:.1f}{deviation} %"


def environment() -> dict[str, str]:
    """What the figures were measured with."""
    import torch

    return {
        "secateurs": version("secateurs"),
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }
