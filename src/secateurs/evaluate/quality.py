"""Accuracy and mean loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from secateurs.data import Batch, Loss, batches, errors_on_all_ranks, logits_of, loss_of, sum_over_ranks
from secateurs.errors import DataError
from secateurs.huggingface import task_of
from secateurs.huggingface.text import IGNORE_INDEX
from secateurs.utils import Progress, device_of, evaluating, silent


def accuracy(model: nn.Module, data: Iterable[Any], progress: Progress = silent) -> float:
    """Measure top-1 accuracy: the fraction of samples whose largest class score is that of the target.

    Args:
        model: returns class scores [samples, classes], as a tensor or as `logits` of the outputs. It is not changed.
        data: batches of (inputs, targets), or dicts with `labels`. The targets are class numbers [samples]. A shard is
            evaluated over all ranks.
        progress: wraps the iteration over the data.

    Returns:
        The accuracy in [0, 1].

    Raises:
        DataError: the data is empty, the shapes of outputs and targets do not fit, or the model fails on a batch.

    Example:
        >>> 0 <= sc.accuracy(model, data) <= 1
        True
    """
    right = total = 0
    with errors_on_all_ranks(data), evaluating(model):
        for batch in progress(batches(data), "evaluating"):
            batch = batch.to(device_of(model))
            try:
                outputs = batch.call.run(model)
            except Exception as error:
                raise batch.model_error(error) from error
            targets, scores = batch.labels, logits_of(outputs, "accuracy")
            if not isinstance(targets, Tensor) or targets.shape != scores.shape[:1]:
                raise DataError(f"batch {batch.index}: accuracy needs outputs [samples, classes] and targets [samples]")
            right += int((scores.argmax(1) == targets).sum())
            total += len(targets)
    return sum_over_ranks(data, right) / sum_over_ranks(data, total)


def mean_loss(
    model: nn.Module,
    data: Iterable[Any],
    loss: Loss | None = None,
    parameters: Mapping[str, Tensor] | None = None,
    progress: Progress = silent,
) -> float:
    """Measure the mean loss over all samples. If samples have several labels, the mean is over all labels except −100.

    Args:
        model: the model; it is not changed.
        data: batches of (inputs, targets), or dicts with `labels`. A shard is evaluated over all ranks.
        loss: a function of (outputs, targets) that returns the mean over the samples of a batch; by default
            cross-entropy, or the loss that the model returns.
        parameters: values that replace parameters of the model during the evaluation, by name.
        progress: wraps the iteration over the data.

    Returns:
        The mean loss.

    Raises:
        DataError: the data is empty, has no targets or only targets −100, or the model fails on a batch.

    Example:
        >>> sc.mean_loss(model, data) > 0
        True
    """
    total, count = 0.0, 0
    with errors_on_all_ranks(data), evaluating(model):
        for batch in progress(batches(data), "evaluating"):
            batch = batch.to(device_of(model))
            call = batch.call.copy()
            try:
                outputs = functional_call(model, dict(parameters or {}), call.args, call.kwargs)
            except Exception as error:
                raise batch.model_error(error) from error
            value = float(loss_of(outputs, batch, loss))
            if terms := _terms(model, batch) if loss is None else batch.size:
                total += value * terms
                count += terms
    total, count = sum_over_ranks(data, total), sum_over_ranks(data, count)
    if not count:
        raise DataError("the data has no label that counts in the loss: all labels are −100")
    return total / count


def _terms(model: nn.Module, batch: Batch) -> int:
    """Number of terms in the mean loss of a batch. A causal model of transformers skips the first token of a sample."""
    labels = batch.labels
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        return batch.size
    shift = batch.targets is None and labels.ndim == 2 and task_of(type(model).__name__) == "causal"
    return int((labels[:, 1:] if shift else labels).ne(IGNORE_INDEX).sum())
