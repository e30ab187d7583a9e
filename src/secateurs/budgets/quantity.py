"""Quantities that budgets limit, such as MACs.

A quantity is a function that computes the amount of a model with given widths. Each file of `quantities/` registers one
built-in quantity; `@sc.quantity` registers further quantities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from secateurs.errors import BudgetError
from secateurs.structure import IncrementalCost, Structure

Widths = Mapping[str, int]
"""Group name to the number of units. Groups that are missing have all units."""

Amount = Callable[[Structure, Widths], float]
"""Maps a structure and widths to the amount of the model. The amount must not grow when a group gets narrower."""


class Counter(Protocol):
    """Computes the amount of a model while the widths change step by step."""

    def at(self, changes: Widths) -> float:
        """Compute the amount after changes of widths, without making the changes."""
        ...

    def set(self, changes: Widths) -> None:
        """Make changes of widths."""
        ...


@dataclass(frozen=True)
class Quantity:
    """A quantity that a budget can limit.

    Attributes:
        name: the text before the colon of a budget, such as "macs".
        unit: the unit of the amounts, such as "MACs".
        summary: one line that describes the quantity.
        amount: maps the structure of the dense model, and the widths of all groups that have scores, to the amount of
            the model.
        incremental: creates a counter from the same arguments, if the amount can be updated faster than by computing
            it again after each change.
    """

    name: str
    unit: str
    summary: str
    amount: Amount
    incremental: Callable[[Structure, Widths], Counter] | None = None

    def counter(self, structure: Structure, widths: Widths) -> Counter:
        """Create a counter that starts at these widths."""
        if self.incremental is not None:
            return self.incremental(structure, widths)
        return WholeCounter(self.amount, structure, widths)

    def savings(self, structure: Structure, groups: Iterable[str]) -> dict[str, float]:
        """Compute for each group the amount that the removal of one unit from the dense model saves."""
        whole = {name: group.size for name, group in structure.groups.items()}
        dense, counter = self.amount(structure, whole), self.counter(structure, whole)
        return {name: dense - counter.at({name: whole[name] - 1}) for name in groups}


class WholeCounter:
    """A counter that computes the amount of the whole model at each change."""

    def __init__(self, amount: Amount, structure: Structure, widths: Widths):
        self._amount, self._structure, self._widths = amount, structure, dict(widths)

    def at(self, changes: Widths) -> float:
        """See `Counter`."""
        return self._amount(self._structure, {**self._widths, **changes})

    def set(self, changes: Widths) -> None:
        """See `Counter`."""
        self._widths.update(changes)


class CostCounter:
    """A counter of one attribute of `Cost` that updates only the operators affected by a change."""

    def __init__(self, structure: Structure, widths: Widths, attribute: str):
        self._cost, self._attribute = IncrementalCost(structure, widths), attribute

    def at(self, changes: Widths) -> float:
        """See `Counter`."""
        return getattr(self._cost.at(changes), self._attribute)

    def set(self, changes: Widths) -> None:
        """See `Counter`."""
        self._cost.set(changes)


QUANTITIES: dict[str, Quantity] = {}
"""All registered quantities, by name."""


def quantity(
    name: str, *, unit: str, incremental: Callable[[Structure, Widths], Counter] | None = None
) -> Callable[[Amount], Amount]:
    """Register a function as a quantity that budgets can limit by name, such as "bytes:0.5".

    The function takes the `Structure` of the dense model and a mapping from group name to number of units, and returns
    the amount of the model with these widths. The amount must not grow when a group gets narrower. The first line of
    the docstring becomes the summary of the quantity.

    Args:
        name: the text before the colon of a budget.
        unit: the unit of the amounts, for messages.
        incremental: creates a `Counter` from the same arguments, if the amount can be updated faster than by computing
            it again after each change.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        BudgetError: the name is taken, empty or contains a colon, or the function has no docstring.

    Example:
        >>> from secateurs.budgets import temporary_quantities
        >>> with temporary_quantities():  # undone at the end of the block
        ...     @sc.quantity("bytes", unit="bytes")
        ...     def parameter_bytes(structure, widths):
        ...         "Bytes of all parameters in float32."
        ...         return 4 * structure.cost(widths).params
        ...     result = sc.prune(model, data, criterion="l2", budget="bytes:0.5")
        >>> result.cost.params <= 0.5 * result.dense_cost.params
        True
    """
    if not name or ":" in name or name == "effective" or name in QUANTITIES:
        reason = "is empty or contains a colon" if not name or ":" in name else "is taken"
        raise BudgetError(f"the name {name!r} of a quantity {reason}; choose another name")

    def register(amount: Amount) -> Amount:
        if not amount.__doc__:
            raise BudgetError(f"quantity {name!r} needs a docstring; the first line becomes the summary")
        QUANTITIES[name] = Quantity(name, unit, amount.__doc__.strip().splitlines()[0], amount, incremental)
        return amount

    return register


@contextmanager
def temporary_quantities() -> Iterator[None]:
    """Remove the quantities that a `with` block registers at the end of the block.

    Example:
        >>> from secateurs.budgets import temporary_quantities
        >>> with temporary_quantities():
        ...     @sc.quantity("groups", unit="units")
        ...     def widest(structure, widths):
        ...         "Units of the widest group."
        ...         return max(widths.values())
    """
    before = dict(QUANTITIES)
    try:
        yield
    finally:
        QUANTITIES.clear()
        QUANTITIES.update(before)
