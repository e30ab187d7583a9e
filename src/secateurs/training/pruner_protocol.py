"""What a training needs of a pruner that cuts the model meanwhile; `secateurs.gradual` makes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer


class Pruner(Protocol):
    """Cuts a model in place, and its optimiser with it."""

    def step(self) -> Any:
        """Called after each step of the optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """What was cut, as plain data for JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the dense model, and its optimiser, to that."""


MakePruner = Callable[[nn.Module, Optimizer], Pruner]
