"""The cost of a structure while widths change step by step: only the affected terms are counted again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from secateurs.structure.axis import Axis, Var, leaves
from secateurs.structure.cost import Cost
from secateurs.structure.indexing import size_of
from secateurs.structure.structure import Structure

Terms = Mapping[Var, Sequence[Sequence[Axis]]]
"""Terms of a cost (axes whose sizes multiply to it), by each variable that they depend on."""


class IncrementalCost:
    """The cost of a model whose groups have certain widths.

    Args:
        structure: the structure of the dense model.
        widths: the number of units left in each group that may change.

    Attributes:
        cost: the cost with the present widths.
    """

    def __init__(self, structure: Structure, widths: Mapping[str, int]):
        self.cost = structure.cost(widths)
        self._var = {name: structure.group(name).var for name in widths}
        self._left = {self._var[name]: width for name, width in widths.items()}
        self._params, self._macs = _by_variable(structure.terms.params), _by_variable(structure.terms.macs)

    def at(self, widths: Mapping[str, int]) -> Cost:
        """The cost with these widths for some groups and the present widths for all others."""
        changed = {**self._left, **{self._var[name]: width for name, width in widths.items()}}
        return Cost(
            params=self.cost.params + self._change(self._params, widths, changed),
            macs=self.cost.macs + self._change(self._macs, widths, changed),
        )

    def set(self, widths: Mapping[str, int]) -> None:
        """Change the widths of these groups."""
        self.cost = self.at(widths)
        self._left.update({self._var[name]: width for name, width in widths.items()})

    def _change(self, terms: Terms, names: Iterable[str], changed: Mapping[Var, int]) -> int:
        touched = {id(axes): axes for name in names for axes in terms[self._var[name]]}
        return sum(
            prod(size_of(axis, changed) for axis in axes) - prod(size_of(axis, self._left) for axis in axes)
            for axes in touched.values()
        )


def _by_variable(terms: Sequence[Sequence[Axis]]) -> Terms:
    """The terms that depend on each variable."""
    by_variable: dict[Var, list[Sequence[Axis]]] = defaultdict(list)
    for axes in terms:
        for var in {var for axis in axes for var in leaves(axis)}:
            by_variable[var].append(axes)
    return by_variable
