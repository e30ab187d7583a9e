"""The number of multiply-accumulate operations."""

from __future__ import annotations

from secateurs.budgets.quantity import CostCounter, Widths, quantity
from secateurs.structure import Structure


@quantity("macs", unit="MACs", incremental=lambda structure, widths: CostCounter(structure, widths, "macs"))
def macs(structure: Structure, widths: Widths) -> int:
    """Multiply-accumulate operations of one forward pass."""
    return structure.cost(widths).macs
