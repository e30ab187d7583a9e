"""The axis algebra against index-level brute force."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.structure import axis as ax
from secateurs.structure.axis import Concat, Product, Var
from secateurs.structure.indexing import indices_of_units, keep_mask, size_of, take_units, unit_of
from secateurs.structure.unify import cut, pieces, reshape, split, unify

SIZES = (2, 3, 4, 6, 8, 12, 24)


class Pool:
    """Draws axes as trees over variables, some of them shared, and remembers each tree as it was drawn."""

    def __init__(self, data):
        self.data = data
        self.vars: list[Var] = []

    def axis(self, size, depth=2):
        """A random axis of that size."""
        kinds = ["var"]
        divisors = [d for d in range(2, size) if size % d == 0]
        if depth and divisors:
            kinds.append("product")
        if depth and size > 2:
            kinds.append("concat")
        kind = self.data.draw(st.sampled_from(kinds))
        if size == 1:
            return ax.ONE
        if kind == "var":
            old = [v for v in self.vars if v.size == size]
            if old and self.data.draw(st.booleans()):
                return self.data.draw(st.sampled_from(old))
            self.vars.append(Var(size, self.data.draw(st.sampled_from([None, None, None, "frozen"]))))
            return self.vars[-1]
        if kind == "product":
            d = self.data.draw(st.sampled_from(divisors))
            return Product((self.axis(d, depth - 1), self.axis(size // d, depth - 1)))
        at = self.data.draw(st.integers(1, size - 1))
        return Concat((self.axis(at, depth - 1), self.axis(size - at, depth - 1)))


def needs(axis):
    """Brute force over the tree as drawn: for each index, the (variable, index) pairs it stands for."""
    if isinstance(axis, Var):
        return [{(axis, i)} for i in range(axis.size)]
    if isinstance(axis, Product):
        result = [set()]
        for factor in axis.factors:
            result = [outer | inner for outer in result for inner in needs(factor)]
        return result
    return [pairs for part in axis.parts for pairs in needs(part)]


def masks_of_leaves(data, variables):
    """Random masks for the free leaves behind the drawn variables; and what they mean for each drawn variable."""
    leaves = dict.fromkeys(leaf for var in variables for leaf in ax.leaves(var))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    masks = {leaf: torch.rand(leaf.size, generator=generator) > 0.4 for leaf in leaves if not leaf.frozen}
    return masks, {var: keep_mask(ax.resolve(var), masks) for var in variables}


def brute_mask(axis, kept):
    return torch.tensor([all(kept[var][i] for var, i in pairs) for pairs in needs(axis)], dtype=torch.bool)


def check_all(data, pool, drawn, equal):
    masks, kept = masks_of_leaves(data, pool.vars)
    for axis in drawn:
        assert torch.equal(keep_mask(ax.resolve(axis), masks), brute_mask(axis, kept))
        widths = {leaf: int(mask.sum()) for leaf, mask in masks.items()}
        if len(set(ax.leaves(axis))) == len(list(ax.leaves(axis))):  # sizes multiply only if no variable repeats
            assert size_of(ax.resolve(axis), widths) == int(keep_mask(ax.resolve(axis), masks).sum())
    for a, b in equal:
        assert torch.equal(keep_mask(ax.resolve(a), masks), keep_mask(ax.resolve(b), masks))


@pytest.mark.slow
@settings(max_examples=400)
@given(st.data())
def test_unified_axes_lose_the_same_indices(data):
    """Whatever is unified in whatever order, all masks of the leaves agree with index-level brute force."""
    pool, drawn, equal = Pool(data), [], []
    for _ in range(data.draw(st.integers(1, 4))):
        size = data.draw(st.sampled_from(SIZES))
        a, b = pool.axis(size), pool.axis(size)
        unify(a, b)
        drawn += [a, b]
        equal.append((a, b))
    check_all(data, pool, drawn, equal)


@settings(max_examples=300)
@given(st.data())
def test_cutting_and_splitting_keep_the_meaning(data):
    pool, drawn, equal = Pool(data), [], []
    for _ in range(data.draw(st.integers(1, 3))):
        size = data.draw(st.sampled_from(SIZES))
        axis = pool.axis(size)
        drawn.append(axis)
        if data.draw(st.booleans()):
            both = cut(axis, data.draw(st.integers(0, size)))
            together = both and ax.concat(both)
        else:
            both = split(axis, data.draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0])))
            together = both and ax.product(both)
        if together is not None:
            assert together.size == size
            equal.append((axis, together))
    check_all(data, pool, drawn, equal)


@settings(max_examples=300)
@given(st.data())
def test_reshape_keeps_the_order_of_elements(data):
    pool = Pool(data)
    axes = [pool.axis(data.draw(st.sampled_from((2, 3, 4, 6, 8)))) for _ in range(data.draw(st.integers(1, 3)))]
    total, sizes = math.prod(a.size for a in axes), []
    while total > 1:
        sizes.append(data.draw(st.sampled_from([d for d in range(total, 1, -1) if total % d == 0])))
        total //= sizes[-1]
    result = reshape(axes, sizes)
    if result is not None:
        assert [a.size for a in result] == sizes
        check_all(data, pool, axes, [(ax.product(axes), ax.product(result))])


@settings(max_examples=200)
@given(st.data())
def test_indices_of_units_agree_with_brute_force(data):
    pool = Pool(data)
    axis = ax.resolve(pool.axis(data.draw(st.sampled_from(SIZES))))
    for var in set(ax.leaves(axis)):
        counts = [sum(v is var for v, _ in pairs) for pairs in needs(axis)]
        if max(counts) > 1:  # a product that holds the variable twice: the first occurrence counts
            continue
        owner = [next((i for v, i in pairs if v is var), -1) for pairs in needs(axis)]
        assert unit_of(axis, var).tolist() == owner
        expected = [[at for at, o in enumerate(owner) if o == unit] for unit in range(var.size)]
        assert indices_of_units(axis, var).tolist() == expected
        x = torch.arange(2 * axis.size * 3).reshape(2, axis.size, 3)
        assert torch.equal(take_units(x, 1, axis, var), x[:, torch.tensor(expected)])


def test_a_frozen_axis_freezes_the_axes_unified_with_it():
    frozen, free = Var(4, "why"), Var(4)
    unify(frozen, free)
    assert [leaf.frozen for leaf in ax.leaves(free)] == ["why"]


def test_products_align_from_the_left():
    a, b, c = Var(4), Var(6), Var(24)
    unify(Product((a, b)), c)
    assert ax.resolve(c).factors == (a, b)
    d = Var(12)
    unify(Product((Var(2), d)), Product((a, b)))  # 2×12 against 4×6: 4 splits into 2×2, 12 into 2×6
    assert [leaf.size for leaf in ax.leaves(c)] == [2, 2, 6]
    assert not any(leaf.frozen for leaf in ax.leaves(c))


def test_a_product_distributes_over_a_concatenation():
    outer, inner = Var(6), Var(5)
    left, right = Var(10), Var(20)
    unify(Product((outer, inner)), Concat((left, right)))
    assert [leaf.size for leaf in ax.leaves(outer)] == [2, 4]
    assert list(ax.leaves(left))[-1] is inner
    assert not inner.frozen


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Product((Var(4), Var(6))), Product((Var(6), Var(4)))),
        (Product((Var(3), Var(4))), Concat((Var(5), Var(7)))),
    ],
)
def test_axes_that_cannot_be_aligned_are_frozen_with_a_reason(a, b):
    unify(a, b)
    assert all("cannot align" in leaf.frozen for axis in (a, b) for leaf in ax.leaves(axis))


def test_axes_of_different_sizes_cannot_be_unified():
    with pytest.raises(ValueError, match="sizes 2 and 3"):
        unify(Var(2), Var(3))


def test_pieces_of_a_product_follow_its_outer_factor():
    outer, inner = Var(4), Var(3)
    assert [p.size for p in pieces(Product((outer, inner)), [3, 9])] == [3, 9]
    assert pieces(Product((Var(4), Var(3))), [4, 8]) is None
