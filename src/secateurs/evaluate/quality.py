"""Accuracy and loss."""

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
    """Measure top-1 accuracy: the share of samples whose largest output is at the target, in [0, 1].

    Args:
        model: gives class scores [samples, classes], as a tensor or as `logits`; evaluated, not changed.
        data: batches of (inputs, targets), or dicts with labels, which are class numbers [samples]; of a shard, all
            ranks' count.
        progress: wraps the iteration over the data.

    Raises:
        DataError: the data is empty or has no such targets, or the model fails on a batch.

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
    """Measure the mean loss over all samples; where a sample has several labels, over all labels except −100.

    Args:
        model: evaluated, not changed.
        data: batches with targets, or dicts with labels; of a shard, all ranks' count.
        loss: maps (outputs, targets) to a mean over samples; by default cross-entropy, or the model's own loss.
        parameters: replace parameters of the model, by name.
        progress: wraps the iteration over the data.

    Raises:
        DataError: the data is empty or has no targets, or all of them are −100, or the model fails on a batch.

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
        raise DataError("nothing in the data is to be predicted: all labels are −100")
    return total / count


def _terms(model: nn.Module, batch: Batch) -> int:
    """Of how many terms the loss of a batch is the mean; a causal model of transformers leaves out first tokens."""
    labels = batch.labels
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        return batch.size
    shift = batch.targets is None and labels.ndim == 2 and task_of(type(model).__name__) == "causal"
    return int((labels[:, 1:] if shift else labels).ne(IGNORE_INDEX).sum())
