"""Scores of input features, accumulated in one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.data import Batch, Loss, batches, errors_on_all_ranks, first_batch, loss_of, sum_over_ranks
from secateurs.errors import DataError
from secateurs.observe import Totals, merge_statistics
from secateurs.utils import Progress, device_of

METHODS = {
    "taylor": "the mean over samples of |x · ∂loss/∂x|",
    "magnitude": "the mean over samples of |x|",
    "variance": "the variance over samples of x",
}
"""Method name → the score of a feature, where x is the value of the feature in one sample."""


def score_features(
    model: nn.Module, data: Iterable[Any], method: str, loss: Loss | None, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Score each feature, and average it over the data.

    Args:
        model: a model in evaluation mode; only "taylor" runs it.
        data: batches; see `secateurs.data.batches`.
        method: a key of `METHODS`.
        loss: for "taylor"; see `secateurs.data.loss_of`.
        progress: wraps the iteration over the data.

    Returns:
        Scores and means, each float64 on the CPU in the shape of one input.

    Raises:
        DataError: see `rank_features`.
    """
    device = device_of(model)
    first = features_of(first_batch(data).to(device))[:1].double()
    totals, sums = Totals(), torch.zeros(first.shape[1:], dtype=torch.float64, device=device)
    with errors_on_all_ranks(data):
        for batch in progress(batches(data), "ranking features"):
            batch = batch.to(device)
            x = features_of(batch)
            if x.shape[1:] != first.shape[1:]:
                shapes = f"{list(x.shape[1:])}, but earlier inputs have shape {list(first.shape[1:])}"
                raise DataError(f"batch {batch.index}: inputs have shape {shapes}; crop, resize or pad them alike")
            # The first sample is subtracted so that the variance of a constant feature is exactly 0.
            totals = totals.extended((x - first).flatten(1))
            effects = x * _gradients(model, batch, x, loss) if method == "taylor" else x
            sums += effects.abs().sum(0, dtype=torch.float64)
    totals, sums = merge_statistics(data, totals), sum_over_ranks(data, sums)
    scores = totals.variance.reshape(sums.shape) if method == "variance" else sums / totals.rows
    if bad := int((~torch.isfinite(scores)).sum()):
        raise DataError(f"the scores of {bad} features are not finite; check the inputs, the targets and the weights")
    return scores.cpu(), (first[0] + totals.mean.reshape(sums.shape)).cpu()


def features_of(batch: Batch) -> Tensor:
    """The tensor of a batch whose features are ranked: the first floating-point input [samples, ...].

    Raises:
        DataError: there is no such input.
    """
    x = next((tensor for tensor in batch.call.tensors() if tensor.is_floating_point()), None)
    if x is None:
        raise DataError(
            f"batch {batch.index} has no floating-point input ({batch.call.describe()}): integers, such as tokens, are "
            "indices into a table and have no magnitude; score the units of the embedding table instead"
        )
    if x.ndim < 2 or len(x) != batch.size:
        raise DataError(
            f"batch {batch.index}: the first floating-point input has shape {list(x.shape)}; the first dimension must "
            f"hold the {batch.size} samples, and the other dimensions the features"
        )
    return x


def _gradients(model: nn.Module, batch: Batch, x: Tensor, loss: Loss | None) -> Tensor:
    """The gradient of each sample's own loss; in evaluation mode, samples do not influence each other."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        value = _loss_at(model, batch, x, leaf.clone(), loss)  # a copy, since models may write into their inputs
        try:
            (gradient,) = torch.autograd.grad(value * batch.size, [leaf], materialize_grads=True)
        except RuntimeError as error:
            raise DataError(f"the loss of batch {batch.index} has no gradient: {error}") from error
    return gradient


def _loss_at(model: nn.Module, batch: Batch, x: Tensor, replacement: Tensor, loss: Loss | None) -> Tensor:
    """The mean loss of a batch whose input `x` is replaced by another tensor."""
    try:
        outputs = batch.call.map(lambda t: replacement if t is x else t.clone()).run(model)
    except Exception as error:
        raise batch.model_error(error) from error
    return loss_of(outputs, batch, loss)
