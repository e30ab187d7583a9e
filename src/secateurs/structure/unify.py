"""Unification of axes: merge two descriptions of the same indices into one.

`unify` never guesses. If two axes of equal size cannot be brought into the same form, both are frozen. This is always
sound: frozen axes lose no indices, so they remain equal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from secateurs.structure import axis as ax
from secateurs.structure.axis import Axis, Concat, Product, Var

Divide = Callable[[Axis, int], "tuple[Axis, Axis] | None"]
"""`split` or `cut`: divides an axis in two, or returns None."""


def unify(a: Axis, b: Axis) -> None:
    """Make two axes describe the same indices in the same order.

    Args:
        a: an axis.
        b: an axis of the same size.

    Raises:
        ValueError: the sizes differ, which is an error of the caller.
    """
    a, b = ax.walk(a), ax.walk(b)
    if a.size != b.size:
        raise ValueError(f"axes of sizes {a.size} and {b.size} cannot be unified")
    if a is b:
        return
    if isinstance(a, Var):
        _bind(a, b)
    elif isinstance(b, Var):
        _bind(b, a)
    elif isinstance(a, Product) and isinstance(b, Product):
        _unify_products(a, b)
    elif isinstance(a, Concat) and isinstance(b, Concat):
        _unify_concats(a, b)
    elif isinstance(a, Product) and isinstance(b, Concat):
        _distribute(a, b)
    elif isinstance(a, Concat) and isinstance(b, Product):
        _distribute(b, a)


def split(axis: Axis, outer: int) -> tuple[Axis, Axis] | None:
    """Split an axis into a product of two factors, the first with `outer` indices; None if that is impossible."""
    axis = ax.walk(axis)
    if outer in (1, axis.size):
        return (ax.ONE, axis) if outer == 1 else (axis, ax.ONE)
    if axis.size % outer:
        return None
    if isinstance(axis, Product):
        return _split_factors(axis, outer)
    first, second = ax.new(outer), ax.new(axis.size // outer)
    unify(axis, ax.product([first, second]))
    # If a concatenation could not be distributed, `unify` has frozen it and both factors.
    return first, second


def cut(axis: Axis, at: int) -> tuple[Axis, Axis] | None:
    """Cut an axis into a concatenation of two parts, the first with `at` indices; None if that is impossible."""
    if at in (0, axis.size):
        return (ax.NONE, axis) if at == 0 else (axis, ax.NONE)
    axis = ax.walk(axis)
    if isinstance(axis, Var):
        pieces = ax.new(at), ax.new(axis.size - at)
        _bind(axis, Concat(pieces))
        return pieces
    if isinstance(axis, Concat):
        return _cut_parts(axis, at)
    first, rest = ax.walk(axis.factors[0]), ax.product(axis.factors[1:])
    pieces = cut(first, at // rest.size) if at % rest.size == 0 else None
    return pieces and (ax.product([pieces[0], rest]), ax.product([pieces[1], rest]))


def pieces(axis: Axis, sizes: Sequence[int]) -> list[Axis] | None:
    """Cut an axis into consecutive pieces of the given sizes; None if that is impossible."""
    result, rest = [], axis
    for size in sizes:
        both = cut(rest, size)
        if both is None:
            return None
        piece, rest = both
        result.append(piece)
    return result


def reshape(axes: Sequence[Axis], sizes: Sequence[int]) -> list[Axis] | None:
    """Derive the axes of a tensor after a row-major reshape to other sizes; None if they are ambiguous."""
    todo = deque(f for axis in axes for f in ax.factors_of(axis))
    result = []
    for size in sizes:
        taken: list[Axis] = []
        missing = size
        while missing > 1:
            if not todo:
                return None
            factor = ax.walk(todo.popleft())
            if isinstance(factor, Product):
                todo.extendleft(reversed(ax.factors_of(factor)))
                continue
            if missing % factor.size:
                both = split(factor, missing) if factor.size % missing == 0 else None
                if both is None:
                    return None
                factor, rest = both
                todo.appendleft(rest)
            taken.append(factor)
            missing //= factor.size
        result.append(ax.product(taken))
    return result


def _bind(var: Var, target: Axis) -> None:
    """Bind a variable to an axis, which inherits all restrictions of the variable."""
    var.bound = target
    if var.frozen:
        ax.freeze(target, var.frozen)
    if var.inexact:
        ax.mark_inexact(target, var.inexact)
    if var.softmax_group:
        ax.mark_softmax_group(target, var.softmax_group)


def _give_up(a: Axis, b: Axis) -> None:
    reason = f"cannot align {ax.resolve(a)} with {ax.resolve(b)}"
    ax.freeze(a, reason)
    ax.freeze(b, reason)


def _unify_products(a: Product, b: Product) -> None:
    """Unify the factors of both products from left to right; larger factors are split."""
    left, right = deque(ax.factors_of(a)), deque(ax.factors_of(b))
    while left and right:
        for side in (left, right):  # binding one factor may have turned another into a product
            side.extendleft(reversed(ax.factors_of(side.popleft())))
        if not _unify_first(left, right, split):
            return _give_up(a, b)
    return None


def _unify_concats(a: Concat, b: Concat) -> None:
    """Unify the parts of both concatenations from left to right; larger parts are cut."""
    left, right = deque(ax.parts_of(a)), deque(ax.parts_of(b))
    while left and right:
        if not _unify_first(left, right, cut):
            return _give_up(a, b)
    return None


def _unify_first(left: deque[Axis], right: deque[Axis], divide: Divide) -> bool:
    """Unify the first axes of both sides and remove them. A larger axis is divided first, and its rest remains.

    Returns:
        Whether the larger axis could be divided.
    """
    if left[0].size == right[0].size:
        unify(left.popleft(), right.popleft())
        return True
    big, small = (left, right) if left[0].size > right[0].size else (right, left)
    both = divide(big[0], small[0].size)
    if both is None:
        return False
    big.popleft()
    big.appendleft(both[1])
    unify(both[0], small.popleft())
    return True


def _distribute(a: Product, b: Concat) -> None:
    """Unify (o × i) with [p + q + ...]: cut o into [o₁ + o₂ + ...], then unify (o₁ × i) with p, (o₂ × i) with q, ..."""
    first, inner = a.factors[0], ax.product(a.factors[1:])
    parts = ax.parts_of(b)
    if any(part.size % inner.size for part in parts):
        return _give_up(a, b)
    outers = pieces(first, [part.size // inner.size for part in parts])
    if outers is None:
        return _give_up(a, b)
    for outer, part in zip(outers, parts, strict=True):
        unify(ax.product([outer, inner]), part)
    return None


def _split_factors(axis: Product, outer: int) -> tuple[Axis, Axis] | None:
    both = reshape([axis], [outer, axis.size // outer])
    return None if both is None else (both[0], both[1])


def _cut_parts(axis: Concat, at: int) -> tuple[Axis, Axis] | None:
    """Cut a concatenation; the part at the boundary is cut in two if necessary."""
    left, parts = [], deque(ax.parts_of(axis))
    while parts and at >= parts[0].size:
        at -= parts[0].size
        left.append(parts.popleft())
    if at:
        both = cut(parts[0], at)
        if both is None:
            return None
        left.append(both[0])
        parts[0] = both[1]
    return ax.concat(left), ax.concat(list(parts))
