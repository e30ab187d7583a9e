"""What fine-tuning minimises."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from secateurs.data import Batch, Loss, logits_of, loss_of
from secateurs.errors import DataError, UsageError
from secateurs.huggingface.text import IGNORE_INDEX
from secateurs.utils import evaluating

ExtraLoss = Callable[[], Tensor]
"""One more term of the loss of a batch, a scalar. One that is a context manager too is entered around the forward pass
of the model (`secateurs.differentiation_loss` is such a one)."""


@dataclass(frozen=True)
class Objective:
    """The loss of one batch; see `finetune`."""

    loss: Loss | None
    extra: ExtraLoss | None
    teacher: nn.Module | None
    share: float
    temperature: float

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of the model on the batch, a scalar with a gradient.

        Raises:
            DataError: the model or the teacher refuses the batch, or the outputs do not fit the targets or each other.
            UsageError: the extra loss gives no scalar.
        """
        with _watching(self.extra):
            outputs = forward(model, batch)
        terms: list[Tensor] = []
        if self.share < 1:
            terms.append((1 - self.share) * loss_of(outputs, batch, self.loss))
        if self.teacher is not None:
            terms.append(self.share * _divergence(outputs, self.teacher, batch, self.temperature))
        if self.extra is not None:
            terms.append(_scalar(self.extra()))
        return sum(terms[1:], start=terms[0])


def _watching(extra: Any) -> AbstractContextManager[Any]:
    return extra if isinstance(extra, AbstractContextManager) else nullcontext()


def forward(model: nn.Module, batch: Batch) -> Any:
    """The outputs of a model.

    Raises:
        DataError: it refuses the batch.
    """
    try:
        return batch.call.run(model)
    except Exception as error:
        raise batch.model_error(error) from error


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise UsageError(f"the extra loss must return a scalar tensor, not {type(value).__name__}")
    return value.reshape(())


def _divergence(outputs: Any, teacher: nn.Module, batch: Batch, temperature: float) -> Tensor:
    purpose = "learning from a teacher"
    with evaluating(teacher):
        theirs = logits_of(forward(teacher, batch), purpose)
    ours = logits_of(outputs, purpose)
    if theirs.shape != ours.shape:
        raise DataError(f"the teacher gives {list(theirs.shape)} where the model gives {list(ours.shape)}")
    each = functional.kl_div(
        functional.log_softmax(ours / temperature, dim=-1),
        functional.log_softmax(theirs / temperature, dim=-1),
        log_target=True,
        reduction="none",
    ).sum(-1)
    labels = batch.labels
    if isinstance(labels, Tensor) and labels.shape == each.shape:  # of tokens, those that the loss looks at
        each = each[labels != IGNORE_INDEX]
    return each.mean() * temperature**2
