"""The interface of a pruner that cuts the model during training. `secateurs.gradual` returns one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer


class Pruner(Protocol):
    """Cuts a model and the state of the optimiser in place during training."""

    def step(self) -> Any:
        """Cut the model if a cut is due. Called after each step of the optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """The units that were removed so far, as JSON data."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the dense model and the optimiser state to the state of another pruner."""


MakePruner = Callable[[nn.Module, Optimizer], Pruner]
"""A function that makes a pruner of a model and its optimiser."""
