"""The terms of a model's cost: products of sizes that groups change, and the constant rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import prod
from typing import NamedTuple

from secateurs.structure.axis import Axis, Var, leaves
from secateurs.structure.cost import Cost
from secateurs.structure.indexing import size_of

Term = Sequence[Axis]
"""Axes whose sizes multiply to a part of a cost."""


class CostTerms(NamedTuple):
    """A cost as a function of the sizes of variables.

    Attributes:
        params: the terms of the number of parameters that depend on a group.
        macs: the same of the MACs.
        constant: the cost that depends on no group.
    """

    params: Sequence[Term]
    macs: Sequence[Term]
    constant: Cost

    def cost(self, sizes: Mapping[Var, int]) -> Cost:
        """The cost when variables have these sizes; all others have the traced size."""
        return Cost(
            params=self.constant.params + sum(prod(size_of(axis, sizes) for axis in term) for term in self.params),
            macs=self.constant.macs + sum(prod(size_of(axis, sizes) for axis in term) for term in self.macs),
        )


def cost_terms(params: Iterable[Term], macs: Iterable[Term], other_macs: int, variables: Collection[Var]) -> CostTerms:
    """Separate the terms that depend on one of the variables from the constant rest."""
    params, constant_params = _separated(params, variables)
    macs, constant_macs = _separated(macs, variables)
    return CostTerms(params, macs, Cost(constant_params, constant_macs + other_macs))


def _separated(terms: Iterable[Term], variables: Collection[Var]) -> tuple[list[Term], int]:
    variable, constant = [], 0
    for term in terms:
        if any(var in variables for axis in term for var in leaves(axis)):
            variable.append(term)
        else:
            constant += prod(axis.size for axis in term)
    return variable, constant
