"""Sizes, masks and indices of resolved axes, computed from the widths or masks of the variables inside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from secateurs.structure.axis import Axis, Product, Var


def size_of(axis: Axis, widths: Mapping[Var, int]) -> int:
    """Compute the size of an axis after a cut.

    Args:
        axis: a resolved axis.
        widths: variable to number of kept indices; missing variables keep all indices.
    """
    if isinstance(axis, Var):
        return widths.get(axis, axis.size)
    if isinstance(axis, Product):
        return math.prod(size_of(f, widths) for f in axis.factors)
    return sum(size_of(p, widths) for p in axis.parts)


def keep_mask(axis: Axis, masks: Mapping[Var, Tensor]) -> Tensor:
    """Compute the mask of the kept indices of an axis.

    Args:
        axis: a resolved axis.
        masks: variable to the mask of its kept indices, bool [var.size]; missing variables keep all indices.

    Returns:
        bool [axis.size].
    """
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
    """Map each index of an axis to the index of `var` that it belongs to, or -1: int64 [axis.size].

    If a product contains `var` twice, the first occurrence counts.
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
    """List the indices of an axis that belong to each unit of `var`: int64 [var.size, indices per unit], ascending."""
    owner = unit_of(axis, var)
    order = torch.argsort(owner, stable=True)
    return order[int((owner < 0).sum()) :].reshape(var.size, -1)


def take_units(x: Tensor, dim: int, axis: Axis, var: Var) -> Tensor:
    """Split a dimension of a tensor by units.

    Args:
        x: a tensor.
        dim: the dimension to split.
        axis: the axis of this dimension.
        var: the variable of the units.

    Returns:
        The tensor with [var.size, indices per unit] in place of the dimension; a view where possible.
    """
    if axis is var:
        return x.unsqueeze(dim + 1)
    index = indices_of_units(axis, var)
    if index.numel() == axis.size and bool((index.flatten() == torch.arange(axis.size)).all()):
        return x.unflatten(dim, tuple(index.shape))
    return x.index_select(dim, index.flatten().to(x.device)).unflatten(dim, tuple(index.shape))


def sliced(tensor: Tensor, keeps: Sequence[Tensor]) -> Tensor:
    """Copy the kept indices of each dimension of a tensor, given one bool mask per dimension."""
    result = tensor
    for dim, keep in enumerate(keeps):
        if not keep.all():
            result = result.index_select(dim, keep.nonzero().flatten().to(tensor.device))
    return tensor.clone() if result is tensor else result


def zeroed(tensor: Tensor, keeps: Sequence[Tensor]) -> Tensor:
    """Copy a tensor with zeros in place of the entries that `sliced` drops."""
    masked = tensor.clone()
    for dim, keep in enumerate(keeps):
        if not keep.all():
            masked.index_fill_(dim, (~keep).nonzero().flatten().to(tensor.device), 0)
    return masked


def kept_entries(keeps: Sequence[Tensor]) -> Tensor:
    """Mark the entries that `sliced` keeps: bool in the shape of the tensor, from one bool mask per dimension."""
    kept = torch.ones((), dtype=torch.bool)
    for keep in keeps:
        kept = kept.unsqueeze(-1) & keep
    return kept
