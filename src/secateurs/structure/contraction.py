"""Contractions: where a weight sums over units, and which entries of the weight belong to which unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from math import prod

from torch import Tensor

from secateurs.structure.axis import Axis, Product, Var, new, product
from secateurs.structure.indexing import indices_of_units, keep_mask
from secateurs.structure.taps import Tap
from secateurs.structure.window import MOST, Window

LARGEST = 4608
"""Kernel taps are separate features only up to this number of features (512 channels of a 3 × 3 kernel)."""


def shared(axis: Axis) -> int:
    """The number of neighbouring indices of `axis` that are one feature: the positions of a flattened feature map.

    Treating the positions of a map as samples of one feature gives many more samples per feature. With one feature per
    position there would often be fewer samples than features.
    """
    if not isinstance(axis, Product):
        return 1
    positions = takewhile(lambda factor: isinstance(factor, Var) and factor.spatial, reversed(axis.factors))
    return prod(factor.size for factor in positions)


@dataclass(frozen=True, eq=False)
class Contraction:
    """One place where the model sums over a dimension of a weight.

    A *feature* is one index of the sum: an input channel of a group of a convolution, or an input of a linear layer. A
    unit may own several features, as a head does. In `alike`, the positions of a flattened map are one feature
    (`operand.shared` positions each), and each tap of a kernel is a feature of its own.

    Attributes:
        weight: the name of the parameter.
        dim: the dimension of the parameter that is summed over.
        operand: where the features can be observed: [samples, features, positions].
        axis: the axis of the features.
        blocks: the number of groups of a convolution, each of which sums over its own features; 1 elsewhere.
        convolution: whether the operator is a convolution.
        window: the geometry of the kernel, unless the convolution is transposed.
        expert: the index of the matrix in a stack of experts, along the first dimension of the weight; None if the
            weight is not a stack.
        arrival: where the outputs of the layer (up to a scale and a shift of each output) can be observed as they are
            added to other data, and the sum; or twice where they enter an activation. None if neither happens.
    """

    weight: str
    dim: int
    operand: Tap
    axis: Axis
    blocks: int
    convolution: bool
    window: Window | None = None
    expert: int | None = None
    arrival: tuple[Tap, Tap] | None = None

    @cached_property
    def alike(self) -> Contraction:
        """The same contraction with the features that least squares works with.

        The positions of a flattened map are one feature. Each tap of a convolution's kernel is a feature of its own,
        unless there would be more than `LARGEST` features.
        """
        if self.window is not None and self.window.taps <= LARGEST // self.axis.size:
            samples, places = self.operand.axes[0], prod(axis.size for axis in self.operand.axes[2:])
            axis = product([self.axis, new(self.window.taps, "kernel tap")])
            seen = samples, axis, new(min(places, MOST), "position")
            return replace(self, operand=replace(self.operand, axes=seen, window=self.window), axis=axis)
        count = shared(self.axis)
        return self if count == 1 else replace(self, operand=replace(self.operand, shared=count))

    @property
    def by_tap(self) -> bool:
        """Whether each tap of a kernel is a feature."""
        return self.operand.window is not None

    def units(self, var: Var) -> Tensor:
        """The features of each unit of a group: int64 [units, features per unit]."""
        return indices_of_units(self.axis, var)[:, :: self.operand.shared] // self.operand.shared

    def kept(self, masks: Mapping[Var, Tensor]) -> Tensor:
        """The features that stay: bool [features]."""
        return keep_mask(self.axis, masks)[:: self.operand.shared]

    def part(self, weight: Tensor) -> Tensor:
        """The part of the weight that is multiplied: all of it, or the matrix of an expert; a view."""
        return weight if self.expert is None else weight[self.expert]

    def matrix(self, weight: Tensor) -> Tensor:
        """That part of the weight as [features, entries that one feature is multiplied with]."""
        if not self.convolution:
            rows = self.part(weight).movedim(self._summed, 0)
        elif self.dim == 0:  # transposed: [groups × inputs, outputs, taps]
            rows = weight
        else:  # [groups × outputs, inputs, taps]
            rows = weight.unflatten(0, (self.blocks, -1)).movedim(2, 1).flatten(0, 1)
            rows = rows.flatten(2).transpose(1, 2) if self.by_tap else rows
        return rows.reshape(self.axis.size // self.operand.shared, -1)

    def fold(self, matrix: Tensor, like: Tensor) -> Tensor:
        """The inverse of `matrix`: a tensor of the shape of `part(like)`."""
        if not self.convolution:
            shape = self.part(like).movedim(self._summed, 0).shape
            return matrix.reshape(shape).movedim(0, self._summed)
        if self.dim == 0:
            return matrix.reshape(like.shape)
        outputs, inputs, *taps = like.shape
        if self.by_tap:
            matrix = matrix.unflatten(0, (-1, prod(taps))).transpose(1, 2)
        parted = matrix.reshape(self.blocks, inputs, outputs // self.blocks, *taps)
        return parted.movedim(1, 2).reshape(like.shape)

    def per_output(self, matrix: Tensor, like: Tensor) -> Tensor:
        """Sum a matrix of the shape of `matrix(like)` per output: [outputs]. Only for weights that are not stacks."""
        return self.fold(matrix, like).movedim(1 - self.dim, 0).flatten(1).sum(1)

    def by_output(self, values: Tensor, like: Tensor) -> Tensor:
        """Spread values [outputs] over a matrix of the shape of `matrix(like)`, each to the entries of one output."""
        shape = [1] * like.ndim
        shape[1 - self.dim] = -1
        return self.matrix(values.reshape(shape).expand_as(like))

    @property
    def _summed(self) -> int:
        """The dimension of the part that is summed over."""
        return self.dim - (self.expert is not None)
