"""Find the dimensions of samples and positions in a tensor with other sizes than in the trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from secateurs.structure.arguments import Frame
from secateurs.structure.axis import ONE, Axis, Product, Var, concat, factors_of, leaves, new, product


class Layout(NamedTuple):
    """The meaning of each dimension of a tensor that holds units.

    Attributes:
        batch: the dimension that holds the samples, as (outer × samples × inner); None if there is one sample and no
            dimension for it.
        outer: the positions before the samples in this dimension.
        inner: the positions after the samples in this dimension.
        current: the axis of each dimension; for the dimension of the units, the traced axis.
    """

    batch: int | None
    outer: Axis
    inner: Axis
    current: Sequence[Axis]

    def positions(self, units: int, within: int) -> list[Axis]:
        """List the axes of positions in the order of dimensions.

        Args:
            units: the dimension of the units.
            within: the number of positions that the dimension of the units holds for each unit.
        """
        result: list[Axis] = []
        for dim, axis in enumerate(self.current):
            if dim == self.batch:
                result += [self.outer, self.inner]
            else:
                result.append(new(within) if dim == units else axis)
        return result


def layout(axes: Sequence[Axis], units: int, batch: Var | None, shape: Sequence[int], frame: Frame) -> Layout:
    """Find the layout of a tensor in a batch.

    Args:
        axes: the traced axes of the tensor.
        units: the dimension of the units.
        batch: the variable of the samples; None if the model was traced on one sample.
        shape: the shape of the tensor.
        frame: the sizes of the batch.

    Raises:
        ValueError: the shape does not follow from the traced shape and the batch, or is ambiguous.
    """
    if len(axes) != len(shape) or shape[units] != axes[units].size:
        raise _unreadable(axes, shape, frame)
    try:
        if batch is None:
            dim = _of_samples(axes, units, shape, frame.samples)
            sizes = [size // frame.samples if d == dim else size for d, size in enumerate(shape)]
            current = _current_axes(axes, units, sizes, frame)
            return Layout(dim, ONE, ONE if dim is None else current[dim], current)
        current = _current_axes(axes, units, shape, frame)
        now = frame.now.get(batch, batch)
        dim = next(d for d, axis in enumerate(current) if d != units and now in factors_of(axis))
    except (ValueError, StopIteration):
        raise _unreadable(axes, shape, frame) from None
    factors = factors_of(current[dim])
    place = factors.index(now)
    return Layout(dim, product(factors[:place]), product(factors[place + 1 :]), current)


def _current_axes(axes: Sequence[Axis], units: int, sizes: Sequence[int], frame: Frame) -> list[Axis]:
    """The axis of each dimension in this batch; see `Layout.current`."""
    pairs = enumerate(zip(axes, sizes, strict=True))
    return [axis if dim == units else fitted(axis, size, frame.now) for dim, (axis, size) in pairs]


def fitted(axis: Axis, size: int, now: Mapping[Axis, Var]) -> Axis:
    """Adapt a traced axis to a batch where it has `size` indices.

    Axes in `now` are replaced by the axes of the batch. If the product of the sizes differs from `size`, neighbouring
    factors of unknown size are merged into one factor of the missing size.

    Raises:
        ValueError: no sizes of these factors give the product `size`.
    """
    factors = [_replaced(factor, now) for factor in factors_of(axis)]
    whole = product(factors)
    if whole.size == size:
        return whole
    unknown = [i for i, factor in enumerate(factors_of(axis)) if _unknown(factor, now)]
    first, last = (unknown[0], unknown[-1] + 1) if unknown else (0, 0)
    rest = product([*factors[:first], *factors[last:]]).size
    if (factors and not unknown) or last - first != len(unknown) or not rest or size % rest:
        raise ValueError(f"axis {axis} cannot have the size {size}")
    return product([*factors[:first], new(size // rest, "position"), *factors[last:]])


def _unknown(axis: Axis, now: Mapping[Axis, Var]) -> bool:
    """Whether these are positions and the arguments of the batch do not determine their number."""
    return axis not in now and any(var.frozen for var in leaves(axis))


def _replaced(axis: Axis, now: Mapping[Axis, Var]) -> Axis:
    """Replace all axes in `now` by the axes of the batch."""
    if axis in now or isinstance(axis, Var):
        return now.get(axis, axis)
    if isinstance(axis, Product):
        return product([_replaced(factor, now) for factor in axis.factors])
    return concat([_replaced(part, now) for part in axis.parts])


def _of_samples(axes: Sequence[Axis], units: int, shape: Sequence[int], samples: int) -> int | None:
    """The dimension of the samples, for a trace on one sample: the only dimension that grew from 1 to `samples`."""
    dims = [dim for dim, axis in enumerate(axes) if dim != units and axis.size == 1 and shape[dim] == samples]
    if samples > 1 and len(dims) != 1:
        raise ValueError(f"the samples may be in any of the dimensions {dims}")
    return dims[0] if samples > 1 else None


def _unreadable(axes: Sequence[Axis], shape: Sequence[int], frame: Frame) -> ValueError:
    """The error for a shape that the traced shape and the batch do not determine."""
    return ValueError(
        f"shape {list(shape)} for {frame.samples} samples, traced as {[axis.size for axis in axes]}: the dimensions of "
        "samples and positions are ambiguous; trace the model on several samples of more than one position"
    )
