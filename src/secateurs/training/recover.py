"""Recovery of a pruned model by a recipe or by a training function of the user."""

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
"""A training function of the user. It takes a model and trains it in place."""


def recover(model: nn.Module, recipe: Recovery | Fit, data: Any = None, **options: Any) -> History | None:
    """Train a model in place, by a recipe or by a training function.

    Args:
        model: the model to train.
        recipe: a recipe for `finetune`; or a function `fit(model)` that trains the model and returns the model or None.
        data: training data for `finetune`. A training function does not receive it.
        **options: further arguments of `finetune`. A training function does not receive them.

    Returns:
        The history of `finetune`; None for a training function.

    Raises:
        UsageError: `recipe` is neither, or the function returned another object than the model.
        ModelError: the function added, removed or reshaped a parameter or buffer.
        SecateursError: any error of `finetune`.
    """
    if isinstance(recipe, Recovery):
        return finetune(model, data, recipe, **options)
    if not callable(recipe):
        raise UsageError(f"recovery must be a Recovery or a callable fit(model), not {recipe!r}")
    before = _shapes(model)
    returned = recipe(model)
    if returned is not None and returned is not model:
        raise UsageError(
            f"fit(model) returned another object ({type(returned).__name__}): it must train the model in place and "
            "return the model or None"
        )
    after = _shapes(model)
    if changed := sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
        name = changed[0]
        raise ModelError(
            f"fit(model) changed the shape of {name!r} from {before.get(name, 'missing')} to "
            f"{after.get(name, 'missing')}: it may change only values"
        )
    return None


def _shapes(model: nn.Module) -> dict[str, list[int]]:
    """The shape of every parameter and buffer, by name."""
    return {name: list(tensor.shape) for name, tensor in named_tensors(model)}
