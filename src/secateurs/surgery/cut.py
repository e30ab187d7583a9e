"""Copies of a model with sliced, zeroed or otherwise changed parameters and buffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from secateurs.errors import ModelError
from secateurs.structure import sliced, zeroed
from secateurs.surgery.multihead_attention import adapt_attention
from secateurs.utils import copy_module

Masks = Mapping[str, list[Tensor]]
"""Name of a parameter or buffer to one bool mask of the kept indices per dimension (see `Structure.keep_masks`)."""


def cut(model: nn.Module, masks: Masks) -> nn.Module:
    """Copy the model with every parameter and buffer sliced; shared tensors stay shared.

    Raises:
        ModelError: the model cannot be copied.
    """
    small = rebuild(model, lambda name, tensor: sliced(tensor, masks[name]))
    adapt_attention(small)
    return small


def mask(model: nn.Module, masks: Masks) -> nn.Module:
    """Copy the model with every parameter entry that `cut` would remove set to zero.

    Raises:
        ModelError: the model cannot be copied.
    """
    parameters = {name for name, _ in model.named_parameters()}
    return rebuild(model, lambda name, tensor: zeroed(tensor, masks[name]) if name in parameters else tensor.clone())


def rebuild(model: nn.Module, change: Callable[[str, Tensor], Tensor]) -> nn.Module:
    """Copy the model deeply, with each parameter and buffer replaced by `change(name, values)`.

    The original tensors are never copied, because the memo of `deepcopy` maps them to the new tensors beforehand.

    Raises:
        ModelError: the model cannot be copied.
    """
    memo: dict[int, Tensor] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        new = change(name, tensor.detach())
        memo[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else new
    try:
        return copy_module(model, memo)
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({error}); a common cause is an attribute that holds a tensor "
            "computed from parameters; compute such tensors in forward()"
        ) from error
