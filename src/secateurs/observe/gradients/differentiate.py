"""Compute several gradients in as few passes over the data as possible (`differentiate`)."""

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
"""The built-in gradients, by name. Other gradients need no entry, because criteria also accept `Gradient` objects."""


def find_gradient(gradient: str | Gradient) -> Gradient:
    """Look up a gradient by name; a `Gradient` is returned unchanged.

    Raises:
        CriterionError: the name is unknown.
    """
    if isinstance(gradient, Gradient):
        return gradient
    if gradient not in GRADIENTS:
        raise CriterionError(
            f"unknown gradient {gradient!r}; choose one of {', '.join(GRADIENTS)}, or give an instance of a subclass "
            "of secateurs.observe.Gradient"
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

    All `SampleMean` gradients share one pass over the data, with one backward pass per batch. The pass takes one
    backward pass per sample if a gradient needs it ("fisher", "gate"), or if samples have different numbers of labels,
    as texts of different lengths do.

    Args:
        model: differentiated by all parameters, including parameters that require no gradient.
        data: batches with targets, or dicts with labels. If the data is a shard, gradients cover the data of all ranks.
        gradients: names from `GRADIENTS`, or `Gradient` objects.
        structure: of the model.
        loss: maps (outputs, targets) to the mean loss of a batch; see `secateurs.data.loss_of`.
        seed: for random numbers.
        progress: wraps the iteration over the data.

    Returns:
        The values of each gradient, and of all gradients that these require.

    Raises:
        CriterionError: a gradient is unknown.
        DataError: the data has no targets, the model does not accept a batch, or a gradient is not finite. An error on
            one rank is raised on all ranks.
        UsageError: the ranks hold different models.
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
    """Count the passes over the data that computing these gradients together takes."""
    wanted = _with_required(gradients)
    shared = any(isinstance(gradient, SampleMean) for gradient in wanted)
    return shared + sum(gradient.passes for gradient in wanted)


def _with_required(gradients: Iterable[str | Gradient]) -> list[Gradient]:
    """The gradients and all gradients that they require, in the order of computation."""
    wanted: dict[Gradient, None] = {}
    for gradient in map(find_gradient, gradients):
        wanted |= dict.fromkeys([*_with_required(gradient.requires), gradient])
    return list(wanted)


def _check_finite(gradient: Gradient, values: Values) -> None:
    """Raise an error that names the first tensor that is not finite."""
    for name, tensor in values.items():
        if not torch.isfinite(tensor).all():
            raise DataError(
                f"the {gradient.name} of {name!r} is not finite; check the inputs, the targets and the weights"
            )
