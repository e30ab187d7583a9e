"""What a structure costs while the widths of its groups change one by one: only what they touch is counted again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import prod

from secateurs.costs import Cost
from secateurs.structure.axis import Axis, Var, leaves
from secateurs.structure.indexing import size_of
from secateurs.structure.structure import Structure


class Pricing:
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

    def at(self, name: str, width: int) -> Cost:
        """What the model would cost with one group at this width, the others as they are."""
        var = self._var[name]
        changed = {**self._left, var: width}
        return Cost(
            params=self.cost.params + self._change(self._params[var], changed),
            macs=self.cost.macs + self._change(self._macs[var], changed),
        )

    def set(self, name: str, width: int) -> None:
        """Change one group's width."""
        self.cost = self.at(name, width)
        self._left[self._var[name]] = width

    def _change(self, terms: Sequence[Sequence[Axis]], changed: Mapping[Var, int]) -> int:
        return sum(
            prod(size_of(axis, changed) for axis in axes) - prod(size_of(axis, self._left) for axis in axes)
            for axes in terms
        )


def _by_variable(terms: Sequence[Sequence[Axis]]) -> Mapping[Var, list[Sequence[Axis]]]:
    """The products of sizes in which each variable has a part."""
    found: dict[Var, list[Sequence[Axis]]] = defaultdict(list)
    for axes in terms:
        for var in {var for axis in axes for var in leaves(axis)}:
            found[var].append(axes)
    return found
