"""Sizes, keep masks and index lists of a resolved axis, given the widths or masks of the variables in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from secateurs.structure.axis import Axis, Product, Var


def size_of(axis: Axis, widths: Mapping[Var, int]) -> int:
    """The number of indices left on `axis`, given the number left of each variable."""
    if isinstance(axis, Var):
        return widths.get(axis, axis.size)
    if isinstance(axis, Product):
        return math.prod(size_of(f, widths) for f in axis.factors)
    return sum(size_of(p, widths) for p in axis.parts)


def keep_mask(axis: Axis, masks: Mapping[Var, Tensor]) -> Tensor:
    """The indices of `axis` that stay: bool [axis.size], from bool [var.size] per variable (absent = all)."""
    if isinstance(axis, Var):
        mask = masks.get(axis)
        return torch.ones(axis.size, dtype=torch.bool) if mask is None else mask
    if isinstance(axis, Product):
        keep = torch.ones(1, dtype=torch.bool)
        for factor in axis.factors:
            keep = (keep[:, None] & keep_mask(factor, masks)[None, :]).flatten()
        return keep
    return torch.cat([keep_mask(p, masks) for p in axis.parts] or [torch.ones(0, dtype=torch.bool)])


def unit_of(axis: Axis, var: Var) -> Tensor:
    """The index of `var` that each index of `axis` belongs to, -1 for none: int64 [axis.size].

    Where a product holds `var` twice, the first occurrence counts.
    """
    if isinstance(axis, Var):
        return torch.arange(axis.size) if axis is var else torch.full((axis.size,), -1)
    if isinstance(axis, Product):
        owner = torch.full((1,), -1)
        for factor in axis.factors:
            inner = unit_of(factor, var)[None, :]
            owner = torch.where(owner[:, None] >= 0, owner[:, None], inner).flatten()
        return owner
    return torch.cat([unit_of(p, var) for p in axis.parts])


def indices_of_units(axis: Axis, var: Var) -> Tensor:
    """The indices of `axis` that belong to each unit of `var`: int64 [var.size, occurrences per unit], ascending."""
    owner = unit_of(axis, var)
    order = torch.argsort(owner, stable=True)
    return order[int((owner < 0).sum()) :].reshape(var.size, -1)


def take_units(x: Tensor, dim: int, axis: Axis, var: Var) -> Tensor:
    """`x` with dimension `dim`, described by `axis`, replaced by [var.size, occurrences]; a view where possible."""
    if axis is var:
        return x.unsqueeze(dim + 1)
    index = indices_of_units(axis, var)
    if index.numel() == axis.size and bool((index.flatten() == torch.arange(axis.size)).all()):
        return x.unflatten(dim, tuple(index.shape))
    return x.index_select(dim, index.flatten().to(x.device)).unflatten(dim, tuple(index.shape))


def sliced(tensor: Tensor, keeps: Sequence[Tensor]) -> Tensor:
    """A copy with only the kept indices of each dimension, given one bool mask per dimension."""
    result = tensor
    for dim, keep in enumerate(keeps):
        if not keep.all():
            result = result.index_select(dim, keep.nonzero().flatten().to(tensor.device))
    return tensor.clone() if result is tensor else result


def zeroed(tensor: Tensor, keeps: Sequence[Tensor]) -> Tensor:
    """A copy of the same shape in which the entries that `sliced` drops are zero."""
    masked = tensor.clone()
    for dim, keep in enumerate(keeps):
        if not keep.all():
            masked.index_fill_(dim, (~keep).nonzero().flatten().to(tensor.device), 0)
    return masked


def kept_entries(keeps: Sequence[Tensor]) -> Tensor:
    """The entries that `sliced` keeps: bool, in the shape of the tensor, from one bool mask per dimension."""
    kept = torch.ones((), dtype=torch.bool)
    for keep in keeps:
        kept = kept.unsqueeze(-1) & keep
    return kept
