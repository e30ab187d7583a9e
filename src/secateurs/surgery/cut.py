"""Cutting: slice the parameters and buffers of a copy of a model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.errors import ModelError

Masks = Mapping[str, list[Tensor]]
"""For each parameter and buffer, which indices of each dimension stay (see `Structure.keep_masks`)."""


def clone(model: nn.Module) -> nn.Module:
    """A deep copy of the model.

    Raises:
        ModelError: the model cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({error}); tensors computed from parameters must not be kept in "
            "attributes, for example"
        ) from error


def cut(model: nn.Module, masks: Masks) -> nn.Module:
    """A copy of the model with every parameter and buffer sliced; tensors shared before are shared after."""
    small = clone(model)
    done: dict[int, Tensor] = {}
    for name, module in small.named_modules():
        for table in (module._parameters, module._buffers):
            for key, tensor in table.items():
                if tensor is None:
                    continue
                if id(tensor) not in done:
                    done[id(tensor)] = _like(tensor, _slice(tensor.detach(), masks[f"{name}.{key}" if name else key]))
                table[key] = done[id(tensor)]  # type: ignore[assignment]
    return small


def mask(model: nn.Module, masks: Masks) -> nn.Module:
    """A copy of the model with the same shapes, in which every parameter entry that `cut` would remove is zero."""
    masked = clone(model)
    with torch.no_grad():
        for name, parameter in masked.named_parameters():
            for dim, keep in enumerate(masks[name]):
                if not keep.all():
                    gone = (~keep).nonzero().flatten().to(parameter.device)
                    parameter.index_fill_(dim, gone, 0)
    return masked


def _slice(tensor: Tensor, keeps: list[Tensor]) -> Tensor:
    for dim, keep in enumerate(keeps):
        if not keep.all():
            tensor = tensor.index_select(dim, keep.nonzero().flatten().to(tensor.device))
    return tensor


def _like(old: Tensor, new: Tensor) -> Any:
    if isinstance(old, nn.Parameter):
        return nn.Parameter(new, requires_grad=old.requires_grad)
    return new
