"""The training objective: task loss, distillation and an extra loss."""

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
"""A function that returns an additional term of the loss of a batch, a scalar tensor. If it is also a context manager,
as `secateurs.differentiation_loss` is, it is entered around the forward pass of the model."""


@dataclass(frozen=True)
class Objective:
    """The loss of a batch: (1 − w) · task loss + w · distillation loss + extra loss.

    Attributes:
        loss: task loss, a function of (outputs, targets); None means cross-entropy, or the loss that the model returns.
        extra: the extra loss, or None.
        teacher: the model whose outputs are the target of distillation, or None.
        distill_weight: w in [0, 1].
        temperature: softmax temperature of the distillation loss.
    """

    loss: Loss | None
    extra: ExtraLoss | None
    teacher: nn.Module | None
    distill_weight: float
    temperature: float

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Compute the loss of the model on a batch, a scalar with a gradient.

        Raises:
            DataError: the model, the teacher or the loss fails on the batch, or the outputs of model and teacher differ
                in shape.
            UsageError: the extra loss returns no scalar tensor.
        """
        with _context_of(self.extra):
            outputs = forward(model, batch)
        terms: list[Tensor] = []
        if self.distill_weight < 1:
            terms.append((1 - self.distill_weight) * loss_of(outputs, batch, self.loss))
        if self.teacher is not None:
            terms.append(self.distill_weight * _divergence(outputs, self.teacher, batch, self.temperature))
        if self.extra is not None:
            terms.append(_scalar(self.extra()))
        return sum(terms[1:], start=terms[0])


def _context_of(extra: Any) -> AbstractContextManager[Any]:
    """The extra loss if it is a context manager, or else a null context."""
    return extra if isinstance(extra, AbstractContextManager) else nullcontext()


def forward(model: nn.Module, batch: Batch) -> Any:
    """Run a model on a batch.

    Returns:
        The outputs of the model.

    Raises:
        DataError: the model fails on the batch.
    """
    try:
        return batch.call.run(model)
    except Exception as error:
        raise batch.model_error(error) from error


def _scalar(value: Any) -> Tensor:
    """Check that the extra loss is a tensor with one element, and reshape it to []."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise UsageError(f"the extra loss must return a scalar tensor, not {type(value).__name__}")
    return value.reshape(())


def _divergence(outputs: Any, teacher: nn.Module, batch: Batch, temperature: float) -> Tensor:
    """The distillation loss T² · KL(teacher ‖ model) at temperature T, the mean over samples or labelled tokens."""
    purpose = "distillation"
    with evaluating(teacher):
        teacher_logits = logits_of(forward(teacher, batch), purpose)
    logits = logits_of(outputs, purpose)
    if teacher_logits.shape != logits.shape:
        raise DataError(
            f"the outputs of the teacher have shape {list(teacher_logits.shape)}, those of the model "
            f"{list(logits.shape)}: distillation needs equal shapes"
        )
    divergences = functional.kl_div(
        functional.log_softmax(logits / temperature, dim=-1),
        functional.log_softmax(teacher_logits / temperature, dim=-1),
        log_target=True,
        reduction="none",
    ).sum(-1)
    labels = batch.labels
    if isinstance(labels, Tensor) and labels.shape == divergences.shape:  # labels of tokens: skip those without a label
        divergences = divergences[labels != IGNORE_INDEX]
    return divergences.mean() * temperature**2
