"""Contractions: where a weight sums over units, and how its entries line up with what it is multiplied with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from math import prod

from torch import Tensor

from secateurs.structure.axis import Axis, Product, Var
from secateurs.structure.groups import Tap
from secateurs.structure.indexing import indices_of_units, keep_mask


def shared(axis: Axis) -> int:
    """How many neighbouring indices of `axis` are one feature: the positions of a flattened map.

    Positions of one map are alike, so that a layer that sums over all of them sees many times more samples of each
    feature; with as many features as positions there would often be fewer samples than features.
    """
    if not isinstance(axis, Product):
        return 1
    positions = takewhile(lambda factor: isinstance(factor, Var) and factor.spatial, reversed(axis.factors))
    return prod(factor.size for factor in positions)


@dataclass(frozen=True, eq=False)
class Contraction:
    """One place where the model sums over what lies along one dimension of a weight.

    A *feature* is one index of what is summed over: an input channel of a convolution, of each of its groups; an input
    of a linear layer. A unit may own several features (a head owns as many as it is wide). Of `alike`, the
    positions of a flattened map are one feature (`operand.shared` of them).

    Attributes:
        weight: name of the parameter.
        dim: the dimension of it that is summed over.
        operand: where the features can be seen: [samples, features, positions].
        axis: what the features stand for.
        blocks: groups of the convolution, each of which sums over its own features; 1 elsewhere.
        convolution: whether the operator is a convolution.
    """

    weight: str
    dim: int
    operand: Tap
    axis: Axis
    blocks: int
    convolution: bool

    @cached_property
    def alike(self) -> Contraction:
        """The same, in which the positions of a flattened map are one feature."""
        count = shared(self.axis)
        return self if count == 1 else replace(self, operand=replace(self.operand, shared=count))

    def units(self, var: Var) -> Tensor:
        """The features of each unit of a group: int64 [units, features per unit]."""
        return indices_of_units(self.axis, var)[:, :: self.operand.shared] // self.operand.shared

    def kept(self, masks: Mapping[Var, Tensor]) -> Tensor:
        """Which features stay: bool [features]."""
        return keep_mask(self.axis, masks)[:: self.operand.shared]

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as [features, everything that one feature is multiplied with]."""
        if not self.convolution:
            rows = weight.movedim(self.dim, 0)
        elif self.dim == 0:  # transposed: [groups × inputs, outputs, taps]
            rows = weight
        else:  # [groups × outputs, inputs, taps]
            rows = weight.unflatten(0, (self.blocks, -1)).movedim(2, 1).flatten(0, 1)
        return rows.reshape(self.axis.size // self.operand.shared, -1)

    def fold(self, matrix: Tensor, like: Tensor) -> Tensor:
        """The inverse of `matrix`: a weight of the shape of `like`."""
        if not self.convolution:
            return matrix.reshape(like.movedim(self.dim, 0).shape).movedim(0, self.dim)
        if self.dim == 0:
            return matrix.reshape(like.shape)
        outputs, inputs, *taps = like.shape
        parted = matrix.reshape(self.blocks, inputs, outputs // self.blocks, *taps)
        return parted.movedim(1, 2).reshape(like.shape)
