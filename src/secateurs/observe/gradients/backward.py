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
    """The gradient of the mean loss of a batch with respect to each parameter; zero where it has no influence.

    Raises:
        DataError: the model refuses the batch, or the loss has no gradient.
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
    """The product of the Hessian with a vector, from differentiable gradients (Pearlmutter 1994)."""
    parameters = setting.parameters
    inner = sum((gradients[name] * vector[name]).sum() for name in parameters)
    products = torch.autograd.grad(inner, list(parameters.values()), retain_graph=True, materialize_grads=True)  # type: ignore[arg-type]
    return dict(zip(parameters, products, strict=True))


def equal_weight_parts(batches: Iterable[Batch], single: bool) -> Iterator[Batch]:
    """Batches whose mean loss is the mean over their samples: single samples where `single`, or where labels differ."""
    for batch in batches:
        yield from batch.split_samples() if single or _label_counts_differ(batch.labels) else (batch,)


def _label_counts_differ(labels: Any) -> bool:
    """Whether samples have different numbers of labels: then the mean over labels is not the mean over samples."""
    if not isinstance(labels, Tensor) or labels.ndim < 2 or labels.is_floating_point():
        return False
    counts = (labels != IGNORE_INDEX).flatten(1).sum(1)
    return bool((counts != counts[0]).any())
