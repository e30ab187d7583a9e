"""Contractions: operator calls that sum over a dimension of a weight, and the entries that belong to each unit."""

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
"""The largest number of features if each kernel tap is a feature (512 channels with a 3 × 3 kernel)."""


def shared(axis: Axis) -> int:
    """Count the neighbouring indices of an axis that are one feature: the positions of a flattened feature map.

    The positions of a feature map count as samples of one feature. With one feature per position, there would often be
    fewer samples than features.
    """
    if not isinstance(axis, Product):
        return 1
    positions = takewhile(lambda factor: isinstance(factor, Var) and factor.spatial, reversed(axis.factors))
    return prod(factor.size for factor in positions)


@dataclass(frozen=True, eq=False)
class Contraction:
    """One operator call in which the model sums over a dimension of a weight.

    A *feature* is one index of the sum: an input channel of one group of a convolution, or an input of a linear layer.
    A unit may have several features, as an attention head does. In the form `alike`, all positions of a flattened
    feature map are one feature (`operand.shared` positions each), and each kernel tap is a separate feature.

    Attributes:
        weight: the name of the parameter.
        dim: the dimension of the parameter that the operator sums over.
        operand: the tap where the features can be observed, [samples, features, positions].
        axis: the axis of the features.
        blocks: the number of groups of a convolution, which sum over separate features; 1 for other operators.
        convolution: whether the operator is a convolution.
        window: the geometry of the kernel; None if the operator is not a convolution or is transposed.
        expert: the index of the matrix in a stack of experts, along the first dimension of the weight; None if the
            weight is not a stack.
        arrival: the tap where the outputs of the layer, up to a scale and a shift of each output, are added to other
            data, and the tap of the sum. If the outputs enter an activation, this tap twice. None if neither happens.
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
        """The same contraction with the features for least squares.

        All positions of a flattened feature map are one feature. Each tap of a convolution kernel is a separate
        feature, unless there would be more than `LARGEST` features.
        """
        if self.window is not None and self.window.taps <= LARGEST // self.axis.size:
            samples, positions = self.operand.axes[0], prod(axis.size for axis in self.operand.axes[2:])
            axis = product([self.axis, new(self.window.taps, "kernel tap")])
            axes = samples, axis, new(min(positions, MOST), "position")
            return replace(self, operand=replace(self.operand, axes=axes, window=self.window), axis=axis)
        count = shared(self.axis)
        return self if count == 1 else replace(self, operand=replace(self.operand, shared=count))

    @property
    def by_tap(self) -> bool:
        """Whether each tap of a kernel is a feature."""
        return self.operand.window is not None

    def units(self, var: Var) -> Tensor:
        """The indices of the features of each unit of a group: int64 [units, features per unit]."""
        return indices_of_units(self.axis, var)[:, :: self.operand.shared] // self.operand.shared

    def kept(self, masks: Mapping[Var, Tensor]) -> Tensor:
        """The mask of the kept features, bool [features], from the masks of the kept units of each variable."""
        return keep_mask(self.axis, masks)[:: self.operand.shared]

    def part(self, weight: Tensor) -> Tensor:
        """The multiplied part of the weight, as a view: the whole weight, or the matrix of the expert."""
        return weight if self.expert is None else weight[self.expert]

    def matrix(self, weight: Tensor) -> Tensor:
        """The multiplied part of the weight as a matrix [features, entries per feature]."""
        if not self.convolution:
            rows = self.part(weight).movedim(self._summed, 0)
        elif self.dim == 0:  # transposed: [groups × inputs, outputs, taps]
            rows = weight
        else:  # [groups × outputs, inputs, taps]
            rows = weight.unflatten(0, (self.blocks, -1)).movedim(2, 1).flatten(0, 1)
            rows = rows.flatten(2).transpose(1, 2) if self.by_tap else rows
        return rows.reshape(self.axis.size // self.operand.shared, -1)

    def fold(self, matrix: Tensor, like: Tensor) -> Tensor:
        """Turn a matrix [features, entries per feature] into the shape of `part(like)`; the inverse of `matrix`."""
        if not self.convolution:
            shape = self.part(like).movedim(self._summed, 0).shape
            return matrix.reshape(shape).movedim(0, self._summed)
        if self.dim == 0:
            return matrix.reshape(like.shape)
        outputs, inputs, *taps = like.shape
        if self.by_tap:
            matrix = matrix.unflatten(0, (-1, prod(taps))).transpose(1, 2)
        blocks = matrix.reshape(self.blocks, inputs, outputs // self.blocks, *taps)
        return blocks.movedim(1, 2).reshape(like.shape)

    def per_output(self, matrix: Tensor, like: Tensor) -> Tensor:
        """Sum a matrix in the shape of `matrix(like)` over each output: [outputs]. Not for stacks of experts."""
        return self.fold(matrix, like).movedim(1 - self.dim, 0).flatten(1).sum(1)

    def by_output(self, values: Tensor, like: Tensor) -> Tensor:
        """Expand values [outputs] to the shape of `matrix(like)`: each value fills the entries of one output."""
        shape = [1] * like.ndim
        shape[1 - self.dim] = -1
        return self.matrix(values.reshape(shape).expand_as(like))

    @property
    def _summed(self) -> int:
        """The dimension of `part` that the operator sums over."""
        return self.dim - (self.expert is not None)
