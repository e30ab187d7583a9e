"""The number of parameters."""

from __future__ import annotations

from secateurs.budgets.quantity import CostCounter, Widths, quantity
from secateurs.structure import Structure


@quantity("params", unit="parameters", incremental=lambda structure, widths: CostCounter(structure, widths, "params"))
def params(structure: Structure, widths: Widths) -> int:
    """Parameters of the model."""
    return structure.cost(widths).params
