"""Recovery by a recipe or by the user's own training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from secateurs.errors import ModelError, UsageError
from secateurs.training.finetune import finetune
from secateurs.training.history import History
from secateurs.training.recipe import Recovery
from secateurs.utils import named_tensors

Fit = Callable[[nn.Module], Any]
"""The user's own training: takes a model and trains it in place."""


def recover(model: nn.Module, recipe: Recovery | Fit, data: Any = None, **options: Any) -> History | None:
    """Train a model in place, by a recipe or by the user's own `fit(model)`.

    Args:
        model: to train.
        recipe: for `finetune`; or a callable that trains the model it is given, and returns it or nothing.
        data: for `finetune`; `fit` has its own.
        **options: for `finetune`.

    Returns:
        The history of `finetune`; None if it was `fit` that trained.

    Raises:
        UsageError: `recipe` is neither, or `fit` returned something else than its model.
        ModelError: `fit` changed the shape of a parameter or buffer.
        SecateursError: of the kind that `finetune` raises.
    """
    if isinstance(recipe, Recovery):
        return finetune(model, data, recipe, **options)
    if not callable(recipe):
        raise UsageError(f"a model recovers by a Recovery or by a callable fit(model), not by {recipe!r}")
    before = _shapes(model)
    returned = recipe(model)
    if returned is not None and returned is not model:
        raise UsageError(
            f"fit(model) returned {type(returned).__name__}: it must train the model that it is given, in place, and "
            "return that or nothing"
        )
    after = _shapes(model)
    if changed := sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
        name = changed[0]
        raise ModelError(
            f"fit(model) changed the model: {name!r} is {after.get(name, 'not there')}, but was "
            f"{before.get(name, 'not there')}; it may change values only"
        )
    return None


def _shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in named_tensors(model)}
