"""Cutting: copies of a model with other tensors in the place of its parameters and buffers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from secateurs.errors import ModelError
from secateurs.structure import sliced, zeroed
from secateurs.surgery.multihead_attention import adapt_attention

Masks = Mapping[str, list[Tensor]]
"""For each parameter and buffer, which indices of each dimension stay (see `Structure.keep_masks`)."""


def cut(model: nn.Module, masks: Masks) -> nn.Module:
    """A copy of the model with every parameter and buffer sliced; tensors shared before are shared after.

    Raises:
        ModelError: the model cannot be copied.
    """
    small = rebuild(model, lambda name, tensor: sliced(tensor, masks[name]))
    adapt_attention(small)
    return small


def mask(model: nn.Module, masks: Masks) -> nn.Module:
    """A copy of the model with the same shapes, in which every parameter entry that `cut` would remove is zero.

    Raises:
        ModelError: the model cannot be copied.
    """
    parameters = {name for name, _ in model.named_parameters()}
    return rebuild(model, lambda name, tensor: zeroed(tensor, masks[name]) if name in parameters else tensor.clone())


def rebuild(model: nn.Module, change: Callable[[str, Tensor], Tensor]) -> nn.Module:
    """A deep copy of the model in which each parameter and buffer is what `change` makes of its name and values.

    The original tensors are never copied whole: the copy is told beforehand what stands in their place.

    Raises:
        ModelError: the model cannot be copied.
    """
    memo: dict[int, Tensor] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        new = change(name, tensor.detach())
        memo[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else new
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({error}); tensors computed from parameters must not be kept in "
            "attributes, for example"
        ) from error
