"""What a structure costs while the widths of its groups change step by step: only what they touch is counted again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from secateurs.structure.axis import Axis, Var, leaves
from secateurs.structure.cost import Cost
from secateurs.structure.indexing import size_of
from secateurs.structure.structure import Structure

Terms = Mapping[Var, Sequence[Sequence[Axis]]]
"""Axes whose sizes multiply to a part of a cost, by each variable that they depend on."""


class IncrementalCost:
    """The cost at some widths.

    Attributes:
        cost: what the model costs now.
    """

    def __init__(self, structure: Structure, widths: Mapping[str, int]):
        self.cost = structure.cost(widths)
        self._var = {name: structure.group(name).var for name in widths}
        self._left = {self._var[name]: width for name, width in widths.items()}
        params, macs, _ = structure.terms
        self._params, self._macs = _by_variable(params), _by_variable(macs)

    def at(self, widths: Mapping[str, int]) -> Cost:
        """What the model would cost with these groups at these widths, the others as they are."""
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
    """The products of sizes in which each variable has a part."""
    found: dict[Var, list[Sequence[Axis]]] = defaultdict(list)
    for axes in terms:
        for var in {var for axis in axes for var in leaves(axis)}:
            found[var].append(axes)
    return found
