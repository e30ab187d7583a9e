"""What training and gradients minimise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional

from secateurs.data.batch import Batch
from secateurs.errors import DataError

Loss = Callable[[Any, Any], Tensor]
"""Maps (outputs, targets) to a scalar."""


def loss_of(outputs: Any, batch: Batch, loss: Loss | None) -> Tensor:
    """The loss of one batch: `loss(outputs, targets)`; by default cross-entropy, or the model's own loss.

    Args:
        outputs: what the model returned for the batch.
        batch: with its targets; a batch that was a dict (with labels in it) has none of its own.
        loss: overrides the default.

    Raises:
        DataError: there are no targets and the model returns no loss, or the loss does not fit them.
    """
    own = outputs.get("loss") if isinstance(outputs, dict) else getattr(outputs, "loss", None)
    if loss is None and batch.targets is None:
        if own is None:
            raise DataError(
                f"batch {batch.index} has no targets and the model returns no loss; give batches of (inputs, targets), "
                "or dicts with labels for a model that returns its own loss"
            )
        return own
    try:
        value = (loss or _cross_entropy)(outputs, batch.targets)
    except Exception as error:
        raise DataError(f"the loss does not fit the targets of batch {batch.index}: {error}") from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise DataError("the loss must return a scalar tensor")
    return value


def _cross_entropy(outputs: Any, targets: Any) -> Tensor:
    return functional.cross_entropy(outputs, targets)


def logits_of(outputs: Any, purpose: str) -> Tensor:
    """Outputs that are a tensor, or the logits among them.

    Raises:
        DataError: there are none.
    """
    logits = outputs.get("logits") if isinstance(outputs, dict) else getattr(outputs, "logits", outputs)
    if not isinstance(logits, Tensor):
        raise DataError(f"{purpose} needs outputs that are tensors or have logits, not {type(outputs)}")
    return logits
