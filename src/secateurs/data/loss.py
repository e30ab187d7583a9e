"""The loss of a batch, and the logits of model outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional

from secateurs.data.batch import Batch
from secateurs.errors import DataError

Loss = Callable[[Any, Any], Tensor]
"""A function of (outputs, targets) that returns a scalar tensor."""


def loss_of(outputs: Any, batch: Batch, loss: Loss | None) -> Tensor:
    """Compute the loss of one batch, a scalar tensor.

    Args:
        outputs: outputs of the model for the batch.
        batch: the batch.
        loss: called with (outputs, targets). By default, cross-entropy if the batch has targets, and otherwise the
            `loss` in the outputs.

    Raises:
        DataError: the batch has no targets and the outputs have no loss, or `loss` fails or returns no scalar tensor.
    """
    own = outputs.get("loss") if isinstance(outputs, dict) else getattr(outputs, "loss", None)
    if loss is None and batch.targets is None:
        if own is None:
            raise DataError(
                f"batch {batch.index} has no targets and the model returns no loss: give batches of (inputs, targets), "
                "or dicts with labels for a model that computes a loss"
            )
        return own
    try:
        value = (loss or _cross_entropy)(outputs, batch.targets)
    except Exception as error:
        raise DataError(f"the loss function failed on batch {batch.index}: {error}") from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise DataError("the loss must return a scalar tensor")
    return value


def _cross_entropy(outputs: Any, targets: Any) -> Tensor:
    return functional.cross_entropy(outputs, targets)


def logits_of(outputs: Any, purpose: str) -> Tensor:
    """The outputs if they are a tensor, or else the `logits` in them.

    Args:
        outputs: outputs of a model: a tensor, a dict, or an object with attributes.
        purpose: the operation that needs the logits, for the error message.

    Raises:
        DataError: the outputs are not a tensor and have no logits.
    """
    logits = outputs.get("logits") if isinstance(outputs, dict) else getattr(outputs, "logits", outputs)
    if not isinstance(logits, Tensor):
        raise DataError(f"{purpose} needs outputs that are a tensor or have logits, not {type(outputs)}")
    return logits
