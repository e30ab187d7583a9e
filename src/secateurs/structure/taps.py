"""Taps: where units can be observed while a model runs, and how they are read from a tensor."""

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
    """Units as they are seen at a tap.

    Attributes:
        units: [samples, units, ...]. The other dimensions are the positions of a unit, such as the two of a map, with a
            sequence's before all others; those of size one are left out, but for a sequence's.
        counted: which indices of the first of these dimensions are no padding, bool [samples, size]; None if all.
    """

    units: Tensor
    counted: Tensor | None

    def at(self, places: Tensor) -> ObservedUnits:
        """The units at some positions alone, which become one dimension: bool [samples, positions...]."""
        chosen = places.flatten(1)
        if self.counted is not None:
            chosen = chosen & self.counted.repeat_interleave(chosen.shape[1] // self.counted.shape[1], 1)
        return ObservedUnits(self.units.reshape(*self.units.shape[:2], -1), chosen)


@dataclass(frozen=True, eq=False)
class Tap:
    """A place where units can be observed while the model runs.

    Attributes:
        owner: whose units they are, for messages.
        site: the operator.
        slot: which of its arguments holds the units; -1 for its first result, -2 for the next.
        dim: the dimension along which they lie.
        axes: what the indices of every dimension stand for.
        unit: the group's variable on `axes[dim]`; None where the units are the indices of that axis themselves.
        arguments: what the model was traced on.
        shared: where `unit` is None, how many neighbouring indices are one unit.
        order: where rows were sorted in whose order those seen here are, as those that go to experts.
        window: where units are what a convolution's kernel sees, channel by channel and tap by tap.
        expert: where only the rows of one expert count, which.
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
        """Number of units."""
        return self.unit.size if self.unit else self.axes[self.dim].size // self.shared

    @property
    def positions(self) -> int:
        """Number of positions of a unit, in inputs of the size that the model was traced on."""
        batch = self.arguments.batch
        return prod(axis.size for axis in self.axes) // self.size // (batch.size if batch else 1)

    def unsorted(self, x: Tensor, order: Tensor) -> Tensor:
        """What is seen there with its rows as they were before sorting, from the indices that the sort returned."""
        return torch.empty_like(x).index_copy_(self._rows(x, len(order)), order, x)

    def _rows(self, x: Tensor, count: int) -> int:
        """The dimension of that many rows."""
        return next(d for d, size in enumerate(x.shape) if d != self.dim and size == count)

    def read(self, x: Tensor, frame: Frame, experts: Tensor | None = None) -> ObservedUnits:
        """The units in the tensor seen there, a view where possible.

        Args:
            x: that tensor, its rows not sorted.
            frame: the batch.
            experts: to which one each row goes, int64 [rows].

        Raises:
            ValueError: the shape of `x` is not what this batch makes of the shape that was traced.
        """
        seen = self._read(x, frame)
        if self.expert is None:
            return seen
        assert experts is not None, "there is an order where there are experts"
        along = [1] * x.ndim
        along[self._rows(x, len(experts))] = -1
        return seen.at(self._read(experts.reshape(along).expand_as(x), frame).units[:, 0] == self.expert)

    def _read(self, x: Tensor, frame: Frame) -> ObservedUnits:
        if self.window is not None:
            x = self.window.patches(x)
        found = layout(self.axes, self.dim, self.arguments.batch, x.shape, frame)
        if self.unit is None:
            units = x.unflatten(self.dim, (-1, self.shared))
        else:
            units = take_units(x, self.dim, self.axes[self.dim], self.unit)
        within = units.shape[self.dim + 1]
        if found.batch is None:
            units = units.movedim(self.dim, 0)[None]
        else:
            dim = found.batch + (found.batch > self.dim)
            units = units.unflatten(dim, (found.outer.size, frame.samples, found.inner.size))
            units = units.movedim((dim + 1, self.dim if self.dim < dim else self.dim + 2), (0, 1))
        return _sequence_first(units, found.positions(self.dim, within), frame)


def _sequence_first(units: Tensor, positions: Sequence[Axis], frame: Frame) -> ObservedUnits:
    """[samples, units, positions...] with those first along which there may be padding."""
    for dim, axis in enumerate(positions):
        for var in leaves(axis):
            if var in frame.counted:
                others = [size for d, size in enumerate(units.shape[2:]) if d != dim and size > 1]
                units = units.movedim(dim + 2, 2)
                return ObservedUnits(units.reshape(*units.shape[:3], *others), _along(axis, var, frame.counted[var]))
    return ObservedUnits(units.reshape(*units.shape[:2], *(size for size in units.shape[2:] if size > 1)), None)


def _along(axis: Axis, var: Var, counted: Tensor | None) -> Tensor | None:
    """Which indices of an axis that holds `var` are no padding, from which indices of `var` are none."""
    if counted is None or axis is var:
        return counted
    owner = unit_of(axis, var).to(counted.device)
    return torch.where(owner < 0, True, counted[:, owner])
