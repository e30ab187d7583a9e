"""Update the cost of a structure while widths change step by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from secateurs.structure.axis import Axis, Var, leaves
from secateurs.structure.cost import Cost
from secateurs.structure.indexing import size_of
from secateurs.structure.structure import Structure

Terms = Mapping[Var, Sequence[Sequence[Axis]]]
"""Variable to the terms of the cost that depend on it; see `cost_terms.Term`."""


class IncrementalCost:
    """The cost of a model with changing widths. Each change recomputes the affected terms only.

    Args:
        structure: the structure of the dense model.
        widths: group name to the initial number of units, for all groups that may change.

    Attributes:
        cost: the cost with the current widths.
    """

    def __init__(self, structure: Structure, widths: Mapping[str, int]):
        self.cost = structure.cost(widths)
        self._var = {name: structure.group(name).var for name in widths}
        self._widths = {self._var[name]: width for name, width in widths.items()}
        self._params, self._macs = _by_variable(structure.terms.params), _by_variable(structure.terms.macs)

    def at(self, widths: Mapping[str, int]) -> Cost:
        """Compute the cost after changes of widths, without making the changes."""
        changed = {**self._widths, **{self._var[name]: width for name, width in widths.items()}}
        return Cost(
            params=self.cost.params + self._change(self._params, widths, changed),
            macs=self.cost.macs + self._change(self._macs, widths, changed),
        )

    def set(self, widths: Mapping[str, int]) -> None:
        """Make changes of widths."""
        self.cost = self.at(widths)
        self._widths.update({self._var[name]: width for name, width in widths.items()})

    def _change(self, terms: Terms, names: Iterable[str], changed: Mapping[Var, int]) -> int:
        """The change of the sum of all terms that depend on these groups."""
        affected = {id(axes): axes for name in names for axes in terms[self._var[name]]}
        return sum(
            prod(size_of(axis, changed) for axis in axes) - prod(size_of(axis, self._widths) for axis in axes)
            for axes in affected.values()
        )


def _by_variable(terms: Sequence[Sequence[Axis]]) -> Terms:
    """Variable to the terms that depend on it."""
    by_variable: dict[Var, list[Sequence[Axis]]] = defaultdict(list)
    for axes in terms:
        for var in {var for axis in axes for var in leaves(axis)}:
            by_variable[var].append(axes)
    return by_variable
