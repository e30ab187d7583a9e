"""The number of units."""

from __future__ import annotations

from secateurs.budgets.quantity import Widths, quantity
from secateurs.structure import Structure


@quantity("keep", unit="units")
def keep(structure: Structure, widths: Widths) -> int:
    """Units of all groups."""
    return sum(widths.values())
