"""What a module holds, and where."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateurs.errors import ModelError


def named_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Every parameter and buffer, under every name that it has."""
    return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lives (the CPU if it has none).

    Raises:
        ModelError: not a module that can be worked on.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"expected a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("a TorchScript module cannot be pruned; prune the module that it was made from")
    tensor = next(model.parameters(), None)
    tensor = next(model.buffers(), None) if tensor is None else tensor
    return torch.device("cpu") if tensor is None else tensor.device


def need_values(model: nn.Module, purpose: str) -> None:
    """See that a model has weights, and not only their sizes.

    Raises:
        ModelError: it is on the meta device, or it is no module.
    """
    if device_of(model).type == "meta":
        raise ModelError(
            f"{type(model).__name__} is on the meta device, where weights have sizes but no values: it can be traced, "
            f"checked and planned for, but {purpose} needs its weights"
        )
