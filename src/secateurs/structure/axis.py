"""Axes: the meaning of the indices of one tensor dimension.

An axis is an expression over variables. A `Var` is a set of interchangeable indices that can be removed one by one. A
`Product` numbers the tuples of its factors in row-major order, as `view` merges dimensions. A `Concat` joins its parts
end to end, as `cat` does. Variables are bound to other axes while a model is traced (see `unify`); `walk` follows these
bindings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


class Var:
    """A free set of `size` indices, compared by identity.

    Attributes:
        size: number of indices, at least 2.
        bound: the axis that this variable equals, or None.
        frozen: why no index may be removed, or None.
        inexact: why removing an index changes what the remaining ones compute, or None.
        softmax_group: the operator that makes the indices compete, such as a softmax, or None. No index may be removed,
            unless the indices are experts.
        spatial: whether the indices are positions made by a convolution or a pooling.
    """

    __slots__ = ("bound", "frozen", "inexact", "size", "softmax_group", "spatial")

    def __init__(self, size: int, frozen: str | None = None):
        self.size = size
        self.frozen = frozen
        self.inexact: str | None = None
        self.softmax_group: str | None = None
        self.spatial = False
        self.bound: Axis | None = None

    def __repr__(self) -> str:
        return f"{'!' if self.frozen else ''}{self.size}"


@dataclass(frozen=True, eq=False)
class Product:
    """The row-major tuples of several factors; the empty product is the axis of size one."""

    factors: tuple[Axis, ...]
    size: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "size", math.prod(f.size for f in self.factors))

    def __repr__(self) -> str:
        return "(" + "×".join(map(repr, self.factors)) + ")"


@dataclass(frozen=True, eq=False)
class Concat:
    """Several parts end to end; the empty concatenation is the axis of size zero."""

    parts: tuple[Axis, ...]
    size: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "size", sum(p.size for p in self.parts))

    def __repr__(self) -> str:
        return "[" + "+".join(map(repr, self.parts)) + "]"


Axis = Var | Product | Concat

ONE = Product(())
NONE = Concat(())


def new(size: int, frozen: str | None = None) -> Axis:
    """A fresh axis of `size` indices; of sizes one and zero, where nothing can be removed, a constant."""
    return Var(size, frozen) if size > 1 else (ONE if size == 1 else NONE)


def positions(sizes: Iterable[int], reason: str) -> list[Axis]:
    """Fresh axes of positions, from which nothing may be removed."""
    axes = [new(size, reason) for size in sizes]
    for axis in axes:
        if isinstance(axis, Var):
            axis.spatial = True
    return axes


def product(axes: tuple[Axis, ...] | list[Axis]) -> Axis:
    """The axis that merges `axes`, row-major, in normal form."""
    factors = [f for axis in axes for f in factors_of(axis)]
    return factors[0] if len(factors) == 1 else Product(tuple(factors)) if factors else ONE


def concat(axes: tuple[Axis, ...] | list[Axis]) -> Axis:
    """The axis that joins `axes`, in normal form."""
    parts = [p for axis in axes for p in parts_of(axis)]
    return parts[0] if len(parts) == 1 else Concat(tuple(parts))


def walk(axis: Axis) -> Axis:
    """The axis that `axis` is bound to; only the outermost level is resolved."""
    while isinstance(axis, Var) and axis.bound is not None:
        axis = axis.bound
    return axis


def factors_of(axis: Axis) -> list[Axis]:
    """`axis` as factors none of which is a product itself (an axis of size one has none)."""
    axis = walk(axis)
    if isinstance(axis, Product):
        return [f for factor in axis.factors for f in factors_of(factor)]
    return [axis]


def parts_of(axis: Axis) -> list[Axis]:
    """`axis` as parts none of which is a concatenation itself (an axis of size zero has none)."""
    axis = walk(axis)
    if isinstance(axis, Concat):
        return [p for part in axis.parts for p in parts_of(part)]
    return [axis]


def resolver() -> Callable[[Axis], Axis]:
    """A function that follows every binding of an axis, all the way down, and caches the result."""
    resolved: dict[Axis, Axis] = {}

    def resolve(axis: Axis) -> Axis:
        outermost = walk(axis)
        if outermost not in resolved:
            if isinstance(outermost, Product):
                resolved[outermost] = product([resolve(f) for f in outermost.factors])
            elif isinstance(outermost, Concat):
                resolved[outermost] = concat([resolve(p) for p in outermost.parts])
            else:
                resolved[outermost] = outermost
        return resolved[outermost]

    return resolve


def resolve(axis: Axis) -> Axis:
    """`axis` with every binding followed, all the way down."""
    return resolver()(axis)


def without(axis: Axis, var: Var) -> Axis:
    """The resolved `axis` with one index left of `var`."""
    if axis is var:
        return ONE
    if isinstance(axis, Product):
        return product([without(f, var) for f in axis.factors])
    if isinstance(axis, Concat):
        return concat([without(p, var) for p in axis.parts])
    return axis


def leaves(axis: Axis) -> Iterator[Var]:
    """The unbound variables of `axis`, from left to right, repeated where they occur repeatedly."""
    axis = walk(axis)
    if isinstance(axis, Var):
        yield axis
    else:
        for child in axis.factors if isinstance(axis, Product) else axis.parts:
            yield from leaves(child)


def freeze(axis: Axis, reason: str) -> None:
    """Forbid the removal of any index of `axis`; the first reason is kept."""
    for var in leaves(axis):
        var.frozen = var.frozen or reason


def mark_inexact(axis: Axis, reason: str) -> None:
    """Note that removing an index of `axis` changes what the other indices compute."""
    for var in leaves(axis):
        var.inexact = var.inexact or reason


def mark_softmax_group(axis: Axis, reason: str) -> None:
    """Note that the indices of `axis` compete with each other, as in a softmax."""
    for var in leaves(axis):
        var.softmax_group = var.softmax_group or reason
