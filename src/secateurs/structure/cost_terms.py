"""The terms of the cost of a model: products of sizes that depend on groups, and a constant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import prod
from typing import NamedTuple

from secateurs.structure.axis import Axis, Var, leaves
from secateurs.structure.cost import Cost
from secateurs.structure.indexing import size_of

Term = Sequence[Axis]
"""Axes; the product of their sizes is one term of a cost."""


class CostTerms(NamedTuple):
    """A cost as a function of the sizes of variables.

    Attributes:
        params: the terms of the number of parameters that depend on groups.
        macs: the terms of the MACs that depend on groups.
        constant: the cost that does not depend on groups.
    """

    params: Sequence[Term]
    macs: Sequence[Term]
    constant: Cost

    def cost(self, sizes: Mapping[Var, int]) -> Cost:
        """Compute the cost for given sizes of variables; missing variables have the traced size."""
        return Cost(
            params=self.constant.params + sum(prod(size_of(axis, sizes) for axis in term) for term in self.params),
            macs=self.constant.macs + sum(prod(size_of(axis, sizes) for axis in term) for term in self.macs),
        )


def cost_terms(params: Iterable[Term], macs: Iterable[Term], other_macs: int, variables: Collection[Var]) -> CostTerms:
    """Separate the terms that depend on one of the variables from all other terms, which are added up.

    Args:
        params: the terms of the number of parameters.
        macs: the terms of the MACs.
        other_macs: MACs that do not depend on any axis.
        variables: the variables of all groups.
    """
    params, constant_params = _separated(params, variables)
    macs, constant_macs = _separated(macs, variables)
    return CostTerms(params, macs, Cost(constant_params, constant_macs + other_macs))


def _separated(terms: Iterable[Term], variables: Collection[Var]) -> tuple[list[Term], int]:
    """The terms that depend on one of the variables, and the sum of all other terms."""
    variable, constant = [], 0
    for term in terms:
        if any(var in variables for axis in term for var in leaves(axis)):
            variable.append(term)
        else:
            constant += prod(axis.size for axis in term)
    return variable, constant
