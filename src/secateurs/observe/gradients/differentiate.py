"""`differentiate`: compute all gradients that criteria ask for, with as few passes over the data as possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from secateurs.data import Loss, check_same_weights
from secateurs.errors import CriterionError, DataError
from secateurs.observe.gradients.curvature import HESSIAN_DIAGONAL, HESSIAN_GRADIENT
from secateurs.observe.gradients.gradient import Gradient, Gradients, Setting, Values
from secateurs.observe.gradients.sample_means import FISHER, GATE, LOSS_GRADIENT, SampleMean, sample_means
from secateurs.observe.gradients.synaptic_flow import SYNAPTIC_FLOW
from secateurs.observe.gradients.synflow import SYNAPTIC_ORDER
from secateurs.structure import Structure
from secateurs.utils import Progress, differentiating, silent

GRADIENTS = {
    gradient.name: gradient
    for gradient in (LOSS_GRADIENT, FISHER, GATE, HESSIAN_DIAGONAL, HESSIAN_GRADIENT, SYNAPTIC_FLOW, SYNAPTIC_ORDER)
}
"""The gradients of the library, by name. One of your own needs no entry: a criterion takes the object itself."""


def find_gradient(gradient: str | Gradient) -> Gradient:
    """The gradient of that name, or the gradient itself.

    Raises:
        CriterionError: there is none of that name.
    """
    if isinstance(gradient, Gradient):
        return gradient
    if gradient not in GRADIENTS:
        raise CriterionError(
            f"there is no gradient {gradient!r}; give one of {', '.join(GRADIENTS)}, or an instance of a class of your "
            "own that inherits from secateurs.observe.Gradient"
        )
    return GRADIENTS[gradient]


def differentiate(
    model: nn.Module,
    data: Iterable[Any],
    gradients: Iterable[str | Gradient],
    structure: Structure,
    loss: Loss | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Gradients:
    """Compute gradients in evaluation mode; the model is not changed.

    Means over samples share one pass over the data: one backward pass per batch, or one per sample where a gradient
    needs that ("fisher", "gate") or where samples have different numbers of labels, as texts of several lengths do.

    Args:
        model: all of its parameters are differentiated, including those that require no gradient.
        data: batches with targets, or dicts with labels; of a shard, gradients are those of the data of all ranks.
        gradients: names from `GRADIENTS`, or objects.
        structure: of the model.
        loss: maps (outputs, targets) to the mean loss of a batch; see `secateurs.data.loss_of`.
        seed: for random numbers.
        progress: wraps the iteration over the data.

    Returns:
        The values of each gradient, and of those that it requires.

    Raises:
        CriterionError: there is no such gradient.
        DataError: the data has no targets, the model refuses a batch, or a gradient is not finite; on all ranks, if it
            is so on one.
        UsageError: ranks hold different models.
    """
    wanted = _with_required(gradients)
    if not wanted:
        return {}
    if any(gradient.needs_data for gradient in wanted):
        check_same_weights(data, model)
    computed: dict[Gradient, Values] = {}
    with differentiating(model) as parameters:
        setting = Setting(model, parameters, data, structure, loss, seed, progress)
        if means := [gradient for gradient in wanted if isinstance(gradient, SampleMean)]:
            computed.update(sample_means(means, setting))
        for gradient in wanted:
            if gradient not in computed:
                computed[gradient] = gradient.compute(setting, computed)
    for gradient, values in computed.items():
        _check_finite(gradient, values)
    return computed


def gradient_passes(gradients: Iterable[str | Gradient]) -> int:
    """How often the data is read to compute these gradients together."""
    wanted = _with_required(gradients)
    shared = any(isinstance(gradient, SampleMean) for gradient in wanted)
    return shared + sum(gradient.passes for gradient in wanted)


def _with_required(gradients: Iterable[str | Gradient]) -> list[Gradient]:
    """These gradients, each after those that it requires."""
    wanted: dict[Gradient, None] = {}
    for gradient in map(find_gradient, gradients):
        wanted |= dict.fromkeys([*_with_required(gradient.requires), gradient])
    return list(wanted)


def _check_finite(gradient: Gradient, values: Values) -> None:
    for name, tensor in values.items():
        if not torch.isfinite(tensor).all():
            raise DataError(
                f"the {gradient.name} of {name!r} is not finite; check the inputs, the targets and the weights"
            )
