"""Drop layers of a model, and record the dropped layers in an attribute of the model, for saving and loading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict
from torch import nn

from secateurs.errors import PlanError
from secateurs.surgery.depth_config import adopt_config
from secateurs.surgery.layer_lists import without_layers

ATTRIBUTE = "dropped_layers"
"""The attribute of a model that holds the record."""


@dataclass(frozen=True)
class Dropped:
    """Layers that were dropped in one step.

    Attributes:
        layers: the names of the dropped layers, as they were before the step.
        config: dotted attribute of the configuration to new value; empty if it cannot describe the model.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    layers: tuple[str, ...]
    config: dict[str, int | list[Any]]


def dropped(model: nn.Module) -> tuple[Dropped, ...]:
    """List all steps in which layers were dropped from the original model, in order."""
    return vars(model).get(ATTRIBUTE, ())


def drop(model: nn.Module, step: Dropped, share: bool = False) -> nn.Module:
    """Copy the model without some layers.

    Args:
        model: not changed.
        step: the layers, and the changes of the configuration.
        share: whether the copy shares the memory of the model's weights.

    Returns:
        The copy, with the step added to its record.

    Raises:
        PlanError: a layer does not exist.
        ModelError: the model cannot be copied.
    """
    modules = dict(model.named_modules())
    if missing := [name for name in step.layers if name not in modules]:
        raise PlanError(f"{type(model).__name__} has no layer {missing[0]!r}")
    small = without_layers(model, step.layers, share)
    adopt_config(small, step.config)
    setattr(small, ATTRIBUTE, (*dropped(model), step))
    return small


def drop_again(model: nn.Module, steps: Sequence[Dropped]) -> nn.Module:
    """Repeat the steps of another model of the same class.

    Args:
        model: not changed. Its own record may contain the first of the steps.
        steps: all steps from the original model on.

    Returns:
        A copy, or the model if there is nothing to repeat.

    Raises:
        PlanError: different layers were dropped before, or a layer does not exist.
        ModelError: the model cannot be copied.
    """
    completed = dropped(model)
    if tuple(steps[: len(completed)]) != completed:
        names = [name for step in completed for name in step.layers]
        raise PlanError(f"different layers of {type(model).__name__} were dropped before: {', '.join(names)}")
    for step in steps[len(completed) :]:
        model = drop(model, step, share=True)
    return model
