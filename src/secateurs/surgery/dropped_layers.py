"""Which layers were dropped of a model: the model holds it itself, so that it can be saved, and be done again."""

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
    """Layers that went at one time.

    Attributes:
        layers: by the names that they had then.
        config: what the model's configuration says since, by dotted attribute; nothing if it cannot say it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    layers: tuple[str, ...]
    config: dict[str, int | list[Any]]


def dropped(model: nn.Module) -> tuple[Dropped, ...]:
    """What was dropped of a model, or of what it was made of, in order."""
    return vars(model).get(ATTRIBUTE, ())


def drop(model: nn.Module, its: Dropped, share: bool = False) -> nn.Module:
    """A copy of the model without these layers.

    Args:
        model: it is not changed.
        its: the layers, and how the configuration follows.
        share: let the copy use the memory of the model's own weights.

    Raises:
        PlanError: the model has no such layers.
        ModelError: the model cannot be copied.
    """
    modules = dict(model.named_modules())
    if missing := [name for name in its.layers if name not in modules]:
        raise PlanError(f"{type(model).__name__} has no layer {missing[0]!r}")
    small = without_layers(model, its.layers, share)
    adopt_config(small, its.config)
    setattr(small, ATTRIBUTE, (*dropped(model), its))
    return small


def drop_again(model: nn.Module, steps: Sequence[Dropped]) -> nn.Module:
    """Drop what was dropped of a model of the same kind; the first of it may be gone already.

    Raises:
        PlanError: other layers are gone already, or the model does not have these.
        ModelError: the model cannot be copied.
    """
    gone = dropped(model)
    if tuple(steps[: len(gone)]) != gone:
        names = [name for step in gone for name in step.layers]
        raise PlanError(f"of {type(model).__name__} other layers were dropped before: {', '.join(names)}")
    for step in steps[len(gone) :]:
        model = drop(model, step, share=True)
    return model
