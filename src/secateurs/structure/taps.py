"""Taps: the places where units can be observed while a model runs, and how to read them from a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from secateurs.structure.arguments import Arguments, Frame
from secateurs.structure.axis import Axis, Var, leaves
from secateurs.structure.dispatch import Site
from secateurs.structure.indexing import take_units, unit_of
from secateurs.structure.layout import layout
from secateurs.structure.window import Window


class ObservedUnits(NamedTuple):
    """The values of units at a tap.

    Attributes:
        units: [samples, units, ...]. The remaining dimensions are the positions of a unit, such as the rows and columns
            of a feature map. The positions of a sequence come first. Other dimensions of size one are dropped.
        counted: the indices of the first position dimension that are not padding, bool [samples, size]; None if there
            is no padding.
    """

    units: Tensor
    counted: Tensor | None

    def at(self, places: Tensor) -> ObservedUnits:
        """Restrict the units to chosen positions, bool [samples, positions...]; positions become one dimension."""
        chosen = places.flatten(1)
        if self.counted is not None:
            chosen = chosen & self.counted.repeat_interleave(chosen.shape[1] // self.counted.shape[1], 1)
        return ObservedUnits(self.units.reshape(*self.units.shape[:2], -1), chosen)


@dataclass(frozen=True, eq=False)
class Tap:
    """A place where units can be observed while the model runs.

    Attributes:
        owner: the group or weight that the tap belongs to, for messages.
        site: the operator call.
        slot: the position of the argument that holds the units; -1 for the first result, -2 for the second.
        dim: the dimension of the units.
        axes: the axis of every dimension.
        unit: the variable of the units in `axes[dim]`; None if each index of this axis is a unit.
        arguments: the arguments that the model was traced on.
        shared: if `unit` is None, the number of neighbouring indices that form one unit.
        order: the sort that put the rows into the order of experts; None if the rows are not sorted.
        window: the geometry of a convolution, if each kernel tap of each channel is a unit; otherwise None.
        expert: the only expert whose rows are observed; None if all rows are.
    """

    owner: str
    site: Site
    slot: int
    dim: int
    axes: tuple[Axis, ...]
    unit: Var | None
    arguments: Arguments
    shared: int = 1
    order: Site | None = None
    window: Window | None = None
    expert: int | None = None

    @property
    def size(self) -> int:
        """The number of units."""
        return self.unit.size if self.unit else self.axes[self.dim].size // self.shared

    @property
    def positions(self) -> int:
        """The number of positions of a unit, for inputs of the traced size."""
        batch = self.arguments.batch
        return prod(axis.size for axis in self.axes) // self.size // (batch.size if batch else 1)

    def unsorted(self, x: Tensor, order: Tensor) -> Tensor:
        """Restore the order of the rows before the sort, given the indices that the sort returned."""
        return torch.empty_like(x).index_copy_(self._rows(x, len(order)), order, x)

    def _rows(self, x: Tensor, count: int) -> int:
        """The dimension of the rows."""
        return next(d for d, size in enumerate(x.shape) if d != self.dim and size == count)

    def read(self, x: Tensor, frame: Frame, experts: Tensor | None = None) -> ObservedUnits:
        """Read the units from the tensor at this tap, as a view where possible.

        Args:
            x: the tensor, with the rows in the order before the sort.
            frame: the sizes of the batch.
            experts: the expert of each row, int64 [rows]; necessary if `expert` is not None.

        Raises:
            ValueError: the shape of `x` does not follow from the traced shape and the batch.
        """
        observed = self._read(x, frame)
        if self.expert is None:
            return observed
        assert experts is not None, "a tap of an expert needs the expert of each row"
        shape = [1] * x.ndim
        shape[self._rows(x, len(experts))] = -1
        return observed.at(self._read(experts.reshape(shape).expand_as(x), frame).units[:, 0] == self.expert)

    def _read(self, x: Tensor, frame: Frame) -> ObservedUnits:
        """Read the units of all rows; see `read`."""
        if self.window is not None:
            x = self.window.patches(x)
        dims = layout(self.axes, self.dim, self.arguments.batch, x.shape, frame)
        if self.unit is None:
            units = x.unflatten(self.dim, (-1, self.shared))
        else:
            units = take_units(x, self.dim, self.axes[self.dim], self.unit)
        within = units.shape[self.dim + 1]
        if dims.batch is None:
            units = units.movedim(self.dim, 0)[None]
        else:
            dim = dims.batch + (dims.batch > self.dim)
            units = units.unflatten(dim, (dims.outer.size, frame.samples, dims.inner.size))
            units = units.movedim((dim + 1, self.dim if self.dim < dim else self.dim + 2), (0, 1))
        return _sequence_first(units, dims.positions(self.dim, within), frame)


def _sequence_first(units: Tensor, positions: Sequence[Axis], frame: Frame) -> ObservedUnits:
    """Move the positions that may be padding to the front: [samples, units, positions...]."""
    for dim, axis in enumerate(positions):
        for var in leaves(axis):
            if var in frame.counted:
                rest = [size for d, size in enumerate(units.shape[2:]) if d != dim and size > 1]
                units = units.movedim(dim + 2, 2)
                return ObservedUnits(units.reshape(*units.shape[:3], *rest), _counted_on(axis, var, frame.counted[var]))
    return ObservedUnits(units.reshape(*units.shape[:2], *(size for size in units.shape[2:] if size > 1)), None)


def _counted_on(axis: Axis, var: Var, counted: Tensor | None) -> Tensor | None:
    """Expand the mask of the indices of `var` that are not padding to an axis that contains `var`: [samples, size]."""
    if counted is None or axis is var:
        return counted
    owner = unit_of(axis, var).to(counted.device)
    return torch.where(owner < 0, True, counted[:, owner])
