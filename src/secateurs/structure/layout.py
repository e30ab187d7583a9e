"""Where samples and positions lie in a tensor whose sizes may differ from the traced ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from secateurs.structure.arguments import Frame
from secateurs.structure.axis import ONE, Axis, Product, Var, concat, factors_of, leaves, new, product


class Layout(NamedTuple):
    """The meaning of each dimension of a tensor, one of which holds units.

    Attributes:
        batch: the dimension that holds the samples, as (outer × samples × inner); None if there is one sample without
            a dimension of its own.
        outer: positions before the samples in that dimension.
        inner: positions after the samples in that dimension.
        others: the axis of each dimension; the one of the units is left as it was traced.
    """

    batch: int | None
    outer: Axis
    inner: Axis
    others: Sequence[Axis]

    def positions(self, units: int, within: int) -> list[Axis]:
        """The axes of positions, in the order of dimensions; the dimension of the units holds `within` positions."""
        result: list[Axis] = []
        for dim, axis in enumerate(self.others):
            if dim == self.batch:
                result += [self.outer, self.inner]
            else:
                result.append(new(within) if dim == units else axis)
        return result


def layout(axes: Sequence[Axis], units: int, batch: Var | None, shape: Sequence[int], frame: Frame) -> Layout:
    """The layout of a tensor of this shape, in a batch.

    Args:
        axes: the axes of the tensor as it was traced.
        units: the dimension that holds the units.
        batch: the variable of the samples, if the model was traced on several.
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
            others = _others(axes, units, sizes, frame)
            return Layout(dim, ONE, ONE if dim is None else others[dim], others)
        others = _others(axes, units, shape, frame)
        now = frame.now.get(batch, batch)
        dim = next(d for d, axis in enumerate(others) if d != units and now in factors_of(axis))
    except (ValueError, StopIteration):
        raise _unreadable(axes, shape, frame) from None
    factors = factors_of(others[dim])
    place = factors.index(now)
    return Layout(dim, product(factors[:place]), product(factors[place + 1 :]), others)


def _others(axes: Sequence[Axis], units: int, sizes: Sequence[int], frame: Frame) -> list[Axis]:
    pairs = enumerate(zip(axes, sizes, strict=True))
    return [axis if dim == units else fitted(axis, size, frame.now) for dim, (axis, size) in pairs]


def fitted(axis: Axis, size: int, now: Mapping[Axis, Var]) -> Axis:
    """The form of `axis` in a batch in which it has `size` indices.

    Axes in `now` are replaced. If their sizes do not multiply to `size`, neighbouring positions of unknown size make up
    the rest.

    Raises:
        ValueError: the sizes cannot multiply to `size`.
    """
    factors = [_replaced(factor, now) for factor in factors_of(axis)]
    whole = product(factors)
    if whole.size == size:
        return whole
    open_ = [i for i, factor in enumerate(factors_of(axis)) if _unknown(factor, now)]
    first, last = (open_[0], open_[-1] + 1) if open_ else (0, 0)
    rest = product([*factors[:first], *factors[last:]]).size
    if (factors and not open_) or last - first != len(open_) or not rest or size % rest:
        raise ValueError(f"{size} is no size of {axis}")
    return product([*factors[:first], new(size // rest, "position"), *factors[last:]])


def _unknown(axis: Axis, now: Mapping[Axis, Var]) -> bool:
    """Whether these are positions whose number does not follow from the arguments of a batch."""
    return axis not in now and any(var.frozen for var in leaves(axis))


def _replaced(axis: Axis, now: Mapping[Axis, Var]) -> Axis:
    if axis in now or isinstance(axis, Var):
        return now.get(axis, axis)
    if isinstance(axis, Product):
        return product([_replaced(factor, now) for factor in axis.factors])
    return concat([_replaced(part, now) for part in axis.parts])


def _of_samples(axes: Sequence[Axis], units: int, shape: Sequence[int], samples: int) -> int | None:
    """The dimension that grows with the number of samples, for a trace on one sample."""
    dims = [dim for dim, axis in enumerate(axes) if dim != units and axis.size == 1 and shape[dim] == samples]
    if samples > 1 and len(dims) != 1:  # none: it also holds positions, before or after the samples
        raise ValueError(f"samples may lie along {dims}")
    return dims[0] if samples > 1 else None


def _unreadable(axes: Sequence[Axis], shape: Sequence[int], frame: Frame) -> ValueError:
    return ValueError(
        f"shape {list(shape)} for {frame.samples} samples, traced as {[axis.size for axis in axes]}: the dimensions of "
        "samples and positions are ambiguous; trace the model on several samples of more than one position"
    )
