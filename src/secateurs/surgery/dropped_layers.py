"""The record of dropped layers, which a model holds itself so that it can be saved and repeated."""

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


@dataclass(frozen=True)
class Dropped:
    """Layers that were dropped in one step.

    Attributes:
        layers: the names of the layers before the step.
        config: the new values of the model's configuration, by dotted attribute; empty if it cannot describe the model.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    layers: tuple[str, ...]
    config: dict[str, int | list[Any]]


def dropped(model: nn.Module) -> tuple[Dropped, ...]:
    """All steps in which layers of a model, or of the model that it was made of, were dropped, in order."""
    return vars(model).get(ATTRIBUTE, ())


def drop(model: nn.Module, step: Dropped, share: bool = False) -> nn.Module:
    """Copy the model without these layers.

    Args:
        model: not changed.
        step: the layers, and the changes of the configuration.
        share: let the copy share the memory of the model's weights.

    Raises:
        PlanError: the model has no such layers.
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
    """Repeat the steps of another model of the same class; the first of them may have been done already.

    Raises:
        PlanError: other layers were dropped before, or the model does not have these.
        ModelError: the model cannot be copied.
    """
    done = dropped(model)
    if tuple(steps[: len(done)]) != done:
        names = [name for step in done for name in step.layers]
        raise PlanError(f"of {type(model).__name__} other layers were dropped before: {', '.join(names)}")
    for step in steps[len(done) :]:
        model = drop(model, step, share=True)
    return model
