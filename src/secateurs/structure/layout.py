"""Where the samples and the positions lie in a tensor whose sizes may be others than when it was traced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from secateurs.structure.arguments import Frame
from secateurs.structure.axis import ONE, Axis, Product, Var, concat, factors_of, leaves, new, product


class Layout(NamedTuple):
    """How the dimensions of a tensor with one dimension of units come apart.

    Attributes:
        batch: the dimension that holds the samples, as (outer × samples × inner); None if there is one sample, and no
            dimension for it.
        outer, inner: positions beside the samples in that dimension.
        others: what the other dimensions stand for; that of the units is left as it is.
    """

    batch: int | None
    outer: Axis
    inner: Axis
    others: Sequence[Axis]

    def positions(self, units: int, within: int) -> list[Axis]:
        """What positions there are, in the order of the dimensions, with so many `within` that of the units."""
        found: list[Axis] = []
        for dim, axis in enumerate(self.others):
            if dim == self.batch:
                found += [self.outer, self.inner]
            else:
                found.append(new(within) if dim == units else axis)
        return found


def layout(axes: Sequence[Axis], units: int, batch: Var | None, shape: Sequence[int], frame: Frame) -> Layout:
    """The layout of a tensor of this shape, in a batch.

    Args:
        axes: as they were traced.
        units: the dimension that holds the units.
        batch: the variable of the samples, if the model was traced on several.
        shape: of the tensor.
        frame: the batch.

    Raises:
        ValueError: the shape is not one that the batch makes of the traced one, or it can be read in several ways.
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
    """`axis` in a batch in which it has `size` indices.

    Axes that `now` knows are replaced; if they do not make up the size, neighbouring positions that it does not know
    are what is left.

    Raises:
        ValueError: that does not make up the size either.
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
    """Whether these are positions of which a batch's arguments do not tell how many there are."""
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
        f"shape {list(shape)} for {frame.samples} samples, traced as {[axis.size for axis in axes]}; trace the model "
        "on several samples of more than one position, so that it can be told which dimension is which"
    )
