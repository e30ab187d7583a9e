"""Backward passes: the gradient of the mean loss of a batch, and its products with the Hessian."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from secateurs.data import Batch, loss_of
from secateurs.errors import DataError
from secateurs.huggingface.text import IGNORE_INDEX
from secateurs.observe.gradients.gradient import Setting, Values
from secateurs.utils import device_of


def loss_gradients(setting: Setting, batch: Batch, differentiable: bool = False) -> dict[str, Tensor]:
    """Compute the gradient of the mean loss of a batch.

    Args:
        setting: the model, the parameters and the loss.
        batch: a labelled batch.
        differentiable: whether the gradients can be differentiated again.

    Returns:
        The gradient by each parameter, by name; zero for parameters that do not influence the loss.

    Raises:
        DataError: the model does not accept the batch, or the loss has no gradient.
    """
    batch = batch.to(device_of(setting.model))
    try:
        outputs = batch.call.copy().run(setting.model)
    except Exception as error:
        raise batch.model_error(error) from error
    value, parameters = loss_of(outputs, batch, setting.loss), setting.parameters
    try:
        gradients = torch.autograd.grad(
            value, list(parameters.values()), create_graph=differentiable, materialize_grads=True
        )
    except RuntimeError as error:
        raise DataError(f"the loss of batch {batch.index} has no gradient: {error}") from error
    return dict(zip(parameters, gradients, strict=True))


def hessian_product(setting: Setting, gradients: Values, vector: Values) -> dict[str, Tensor]:
    """Multiply the Hessian by a vector (Pearlmutter 1994).

    Args:
        setting: the parameters.
        gradients: differentiable gradients of the loss, by parameter name.
        vector: the vector, in the shapes of the parameters, by parameter name.

    Returns:
        The product, by parameter name.
    """
    parameters = setting.parameters
    inner = sum((gradients[name] * vector[name]).sum() for name in parameters)
    products = torch.autograd.grad(inner, list(parameters.values()), retain_graph=True, materialize_grads=True)  # type: ignore[arg-type]
    return dict(zip(parameters, products, strict=True))


def equal_weight_parts(batches: Iterable[Batch], single: bool) -> Iterator[Batch]:
    """Split batches so that the mean loss of each part is the mean over its samples.

    Batches are split into single samples if `single` is true, or if samples have different numbers of labels.
    """
    for batch in batches:
        yield from batch.split_samples() if single or _label_counts_differ(batch.labels) else (batch,)


def _label_counts_differ(labels: Any) -> bool:
    """Whether samples have different numbers of labels, so that the mean over labels is not the mean over samples."""
    if not isinstance(labels, Tensor) or labels.ndim < 2 or labels.is_floating_point():
        return False
    counts = (labels != IGNORE_INDEX).flatten(1).sum(1)
    return bool((counts != counts[0]).any())
