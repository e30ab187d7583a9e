"""Measuring how good a model is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from secateurs.data import batches, device_of
from secateurs.errors import DataError
from secateurs.preserve import evaluating
from secateurs.progress import Progress, silent


def accuracy(model: nn.Module, data: Iterable[Any], progress: Progress = silent) -> float:
    """The share of samples whose largest output is at the target, in [0, 1].

    Args:
        model: gives class scores [samples, classes]; evaluated, not changed.
        data: batches of (inputs, targets), targets being class numbers [samples].
        progress: wraps the iteration over the data.

    Raises:
        DataError: the data is empty or has no such targets, or the model refuses a batch.
    """
    right = total = 0
    with evaluating(model):
        for batch in progress(batches(data), "evaluating"):
            batch = batch.to(device_of(model))
            try:
                outputs = batch.call.run(model)
            except Exception as error:
                raise batch.refused(error) from error
            targets = batch.targets
            if not isinstance(targets, Tensor) or not isinstance(outputs, Tensor) or targets.shape != outputs.shape[:1]:
                raise DataError(f"batch {batch.index}: accuracy needs outputs [samples, classes] and targets [samples]")
            right += int((outputs.argmax(1) == targets).sum())
            total += len(targets)
    return right / total
