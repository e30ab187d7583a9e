"""The result of layer-by-layer pruning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from secateurs.budgets import Plan
from secateurs.structure import Structure
from secateurs.surgery import Compensation


@dataclass(frozen=True)
class LayerwiseResult:
    """A pruned model in a directory, with the evidence for the cut.

    Attributes:
        directory: the model's directory, for `from_pretrained`.
        plan: the units that are kept.
        scores: group name → scores [units] that the plan was made from, higher = keep.
        compensation: the error of each compensated weight; None without compensation.
        structure: the structure of the dense model.
    """

    directory: Path
    plan: Plan
    scores: Mapping[str, Tensor]
    compensation: Compensation | None
    structure: Structure
