"""Queries on a module: tensors, device, and whether weights have values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateurs.errors import ModelError


def named_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """List every parameter and buffer with its name. A shared tensor appears once under each of its names."""
    return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter or buffer (the CPU if it has none).

    Raises:
        ModelError: `model` is not a `torch.nn.Module`, or is a TorchScript module.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"expected a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("a TorchScript module cannot be pruned; prune the module that was scripted or traced")
    tensor = next(model.parameters(), None)
    tensor = next(model.buffers(), None) if tensor is None else tensor
    return torch.device("cpu") if tensor is None else tensor.device


def check_has_values(model: nn.Module, purpose: str) -> None:
    """Check that the weights of a model have values, that is, that the model is not on the meta device.

    Args:
        model: the model to check.
        purpose: the operation that needs the values, for the error message.

    Raises:
        ModelError: the model is on the meta device, or is not a module.
    """
    if device_of(model).type == "meta":
        raise ModelError(
            f"{type(model).__name__} is on the meta device, where weights have shapes but no values, and {purpose} "
            "needs its weights: load the model on the CPU or a GPU (tracing, checking and planning work without values)"
        )
