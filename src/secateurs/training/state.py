"""The state of a training run after an epoch, and the tensors that training changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.errors import PersistError
from secateurs.training.history import History

Scalar = bool | int | float | str | None


@dataclass
class TrainingState:
    """The state of a training run after an epoch.

    Attributes:
        history: losses of the finished epochs.
        steps: finished steps of the learning rate schedule.
        model: the tensors that training changes, by name; see `trained_tensors`.
        best: these tensors after the best epoch; empty without `Recovery.patience`.
        optimizer: `state_dict` of the optimiser.
        scaler: `state_dict` of the gradient scaler for fp16; empty for other precisions.
        pruner: `state_dict` of the pruner; None without one.
    """

    history: History = field(default_factory=History)
    steps: int = 0
    model: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Scalar] = field(default_factory=dict)
    pruner: dict[str, Any] | None = None


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Collect the tensors that training changes: parameters that require a gradient, and buffers."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad} | dict(model.named_buffers())


def check_tensors(tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    """Check that the tensors of a checkpoint have the names, shapes and types of the model's trained tensors.

    Raises:
        PersistError: a tensor is missing or unknown, or has another shape or type.
    """
    saved, current = _types_and_shapes(tensors), _types_and_shapes(trained_tensors(model))
    for name in sorted(saved.keys() | current.keys()):
        if saved.get(name) != current.get(name):
            raise PersistError(
                f"the checkpoint belongs to another model: {name!r} is {saved.get(name, 'missing')} in the checkpoint "
                f"and {current.get(name, 'missing')} in {type(model).__name__}. Give another directory, or delete the "
                "checkpoint"
            )


def assign_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy values into the trained tensors of a model, by name."""
    with torch.no_grad():
        for name, tensor in trained_tensors(model).items():
            tensor.copy_(tensors[name])


def _types_and_shapes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Describe each tensor, such as "float32[3, 4]"."""
    return {name: f"{str(tensor.dtype)[6:]}{list(tensor.shape)}" for name, tensor in tensors.items()}
