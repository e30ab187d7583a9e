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
    """A set of `size` indices that can be removed one by one; variables are compared by identity.

    Attributes:
        size: the number of indices, at least 2.
        bound: the axis that this variable is equal to, or None.
        frozen: the reason why no index may be removed, or None.
        inexact: the reason why removing an index changes the values at the remaining indices, or None.
        softmax_group: the operator that makes the indices compete, such as a softmax, or None. Then no index may be
            removed unless the indices are experts.
        spatial: whether the indices are positions in the result of a convolution or pooling.
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
    """The tuples of indices of several factors, in row-major order. The empty product is the axis of size one."""

    factors: tuple[Axis, ...]
    size: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "size", math.prod(f.size for f in self.factors))

    def __repr__(self) -> str:
        return "(" + "×".join(map(repr, self.factors)) + ")"


@dataclass(frozen=True, eq=False)
class Concat:
    """Several parts, joined end to end. The empty concatenation is the axis of size zero."""

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
    """Create an axis of `size` indices: a new variable, or a constant for the sizes one and zero."""
    return Var(size, frozen) if size > 1 else (ONE if size == 1 else NONE)


def positions(sizes: Iterable[int], reason: str) -> list[Axis]:
    """Create frozen axes of positions."""
    axes = [new(size, reason) for size in sizes]
    for axis in axes:
        if isinstance(axis, Var):
            axis.spatial = True
    return axes


def product(axes: tuple[Axis, ...] | list[Axis]) -> Axis:
    """Merge axes in row-major order; factors of the result are never products."""
    factors = [f for axis in axes for f in factors_of(axis)]
    return factors[0] if len(factors) == 1 else Product(tuple(factors)) if factors else ONE


def concat(axes: tuple[Axis, ...] | list[Axis]) -> Axis:
    """Join axes end to end; parts of the result are never concatenations."""
    parts = [p for axis in axes for p in parts_of(axis)]
    return parts[0] if len(parts) == 1 else Concat(tuple(parts))


def walk(axis: Axis) -> Axis:
    """Follow the bindings of an axis; only the outermost level is resolved."""
    while isinstance(axis, Var) and axis.bound is not None:
        axis = axis.bound
    return axis


def factors_of(axis: Axis) -> list[Axis]:
    """Split an axis into factors that are not products; an axis of size one has no factors."""
    axis = walk(axis)
    if isinstance(axis, Product):
        return [f for factor in axis.factors for f in factors_of(factor)]
    return [axis]


def parts_of(axis: Axis) -> list[Axis]:
    """Split an axis into parts that are not concatenations; an axis of size zero has no parts."""
    axis = walk(axis)
    if isinstance(axis, Concat):
        return [p for part in axis.parts for p in parts_of(part)]
    return [axis]


def resolver() -> Callable[[Axis], Axis]:
    """Create a function that follows all bindings inside an axis and caches the results."""
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
    """Follow all bindings inside an axis."""
    return resolver()(axis)


def without(axis: Axis, var: Var) -> Axis:
    """Reduce `var` to one index in a resolved axis."""
    if axis is var:
        return ONE
    if isinstance(axis, Product):
        return product([without(f, var) for f in axis.factors])
    if isinstance(axis, Concat):
        return concat([without(p, var) for p in axis.parts])
    return axis


def leaves(axis: Axis) -> Iterator[Var]:
    """Iterate over the unbound variables of an axis from left to right, with repetitions."""
    axis = walk(axis)
    if isinstance(axis, Var):
        yield axis
    else:
        for child in axis.factors if isinstance(axis, Product) else axis.parts:
            yield from leaves(child)


def freeze(axis: Axis, reason: str) -> None:
    """Forbid the removal of all indices of an axis; an earlier reason is kept."""
    for var in leaves(axis):
        var.frozen = var.frozen or reason


def mark_inexact(axis: Axis, reason: str) -> None:
    """Record that removing an index of an axis changes the values at the other indices."""
    for var in leaves(axis):
        var.inexact = var.inexact or reason


def mark_softmax_group(axis: Axis, reason: str) -> None:
    """Record that the indices of an axis compete with each other, as in a softmax."""
    for var in leaves(axis):
        var.softmax_group = var.softmax_group or reason
