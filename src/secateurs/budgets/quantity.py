"""Quantities: what a budget can limit, such as MACs.

A quantity is a function that gives the amount of a model with given widths. Each file of `quantities/` registers one;
`@sc.quantity` registers one from outside the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from secateurs.errors import BudgetError
from secateurs.structure import IncrementalCost, Structure

Widths = Mapping[str, int]
"""Number of units per group name. Groups that are not named are whole."""

Amount = Callable[[Structure, Widths], float]
"""The amount of the model with these widths. It must not grow when a group gets narrower."""


class Counter(Protocol):
    """The amount of a model whose widths change step by step."""

    def at(self, changes: Widths) -> float:
        """Return the amount with these groups at these widths and all others unchanged."""
        ...

    def set(self, changes: Widths) -> None:
        """Change the widths of these groups."""
        ...


@dataclass(frozen=True)
class Quantity:
    """A quantity that a budget can limit.

    Attributes:
        name: the text before the colon of a budget, such as "macs".
        unit: the unit of the amounts, such as "MACs".
        summary: one line about the quantity.
        amount: takes the structure of the dense model, and the widths of the groups that the budget covers (all that
            have scores); returns the amount of the model.
        incremental: makes a counter from the same arguments, for quantities that need not be counted as a whole after
            each change.
    """

    name: str
    unit: str
    summary: str
    amount: Amount
    incremental: Callable[[Structure, Widths], Counter] | None = None

    def counter(self, structure: Structure, widths: Widths) -> Counter:
        """Return a counter that starts at these widths."""
        if self.incremental is not None:
            return self.incremental(structure, widths)
        return WholeCounter(self.amount, structure, widths)

    def savings(self, structure: Structure, groups: Iterable[str]) -> dict[str, float]:
        """Return per group what the removal of one unit from the dense model saves."""
        whole = {name: group.size for name, group in structure.groups.items()}
        dense, counter = self.amount(structure, whole), self.counter(structure, whole)
        return {name: dense - counter.at({name: whole[name] - 1}) for name in groups}


class WholeCounter:
    """A counter that counts the whole model anew at each change."""

    def __init__(self, amount: Amount, structure: Structure, widths: Widths):
        self._amount, self._structure, self._widths = amount, structure, dict(widths)

    def at(self, changes: Widths) -> float:
        """See `Counter`."""
        return self._amount(self._structure, {**self._widths, **changes})

    def set(self, changes: Widths) -> None:
        """See `Counter`."""
        self._widths.update(changes)


class CostCounter:
    """A counter for one attribute of `Cost`, which counts only the operators that a change affects."""

    def __init__(self, structure: Structure, widths: Widths, attribute: str):
        self._cost, self._attribute = IncrementalCost(structure, widths), attribute

    def at(self, changes: Widths) -> float:
        """See `Counter`."""
        return getattr(self._cost.at(changes), self._attribute)

    def set(self, changes: Widths) -> None:
        """See `Counter`."""
        self._cost.set(changes)


QUANTITIES: dict[str, Quantity] = {}


def quantity(
    name: str, *, unit: str, incremental: Callable[[Structure, Widths], Counter] | None = None
) -> Callable[[Amount], Amount]:
    """Register a function as a quantity that budgets can limit, by name, as in "bytes:0.5".

    The function takes the `Structure` of the dense model and the number of units per group name, and returns the
    amount of the model with these widths. The first line of its docstring is the summary of the quantity.

    Args:
        name: the text before the colon of a budget.
        unit: the unit of the amounts, for messages.
        incremental: makes a `Counter` from the same arguments, for a quantity that would be slow to count as a whole
            after each change.

    Returns:
        A decorator, which returns the function unchanged.

    Raises:
        BudgetError: the name is taken or cannot stand before a colon, or the function has no docstring.

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
        reason = "is not a name without a colon" if not name or ":" in name else "is taken"
        raise BudgetError(f"the name {name!r} of a quantity {reason}; give another name")

    def register(amount: Amount) -> Amount:
        if not amount.__doc__:
            raise BudgetError(f"quantity {name!r}: the function needs a docstring, whose first line is the summary")
        QUANTITIES[name] = Quantity(name, unit, amount.__doc__.strip().splitlines()[0], amount, incremental)
        return amount

    return register


@contextmanager
def temporary_quantities() -> Iterator[None]:
    """Undo every registration of a quantity made inside the block when it ends.

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
