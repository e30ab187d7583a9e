"""Perplexity of a language model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from secateurs.data import Batch, batches, errors_on_all_ranks, first_batch, logits_of, sum_over_ranks
from secateurs.errors import DataError
from secateurs.huggingface import task_of
from secateurs.huggingface.text import IGNORE_INDEX, Windows, loader
from secateurs.utils import Progress, device_of, evaluating, silent


def perplexity(
    model: nn.Module,
    data: Tensor | Iterable[Any],
    length: int = 1024,
    stride: int | None = None,
    *,
    batch_size: int = 8,
    progress: Progress = silent,
) -> float:
    """Measure perplexity: exp(−(1/M) Σ log p(t_i | context of t_i)) over the M predicted tokens t_i.

    A text t_0 … t_{N−1} is cut into windows of L (`length`) tokens that start S (`stride`) tokens apart. A causal model
    predicts every token except t_0 once, so M = N − 1. Token t_i is predicted in the first window that contains it,
    from the preceding tokens of that window. Its context is the whole preceding text if i < L, and otherwise at least
    L − S tokens.

    Args:
        model: returns logits [samples, tokens, vocabulary], as a tensor or as `logits` of the outputs. The logits of a
            position predict the next token; those of a masked or encoder–decoder model predict the token at the
            position. The model is not changed.
        data: the tokens of one text, int64 [N]; or batches with labels [samples, tokens], where −100 marks tokens that
            do not count (see `secateurs.text_data`). Sequences of batches are predicted independently, and a causal
            model does not predict the first token of a sequence. A shard is evaluated over all ranks.
        length: L, tokens per window; used if `data` is one text.
        stride: S, tokens between the starts of two windows, less than L; by default L / 2. Used if `data` is one text.
        batch_size: windows per batch; used if `data` is one text.
        progress: wraps the iteration over the data.

    Returns:
        The perplexity, from 1 to infinity. A uniform distribution over V tokens has perplexity V.

    Raises:
        DataError: the data is empty, has no token to predict, the stride is not less than the length, or the model
            fails on a batch.

    Example:
        >>> class Uniform(nn.Module):
        ...     "Predicts each of ten tokens with the same probability."
        ...     def forward(self, input_ids, **options):
        ...         return torch.zeros(*input_ids.shape, 10)
        >>> round(sc.perplexity(Uniform(), torch.arange(100) % 10, length=16), 3)
        10.0
    """
    if isinstance(data, Tensor):
        data = loader(Windows(data, length, stride or length // 2), batch_size)
    shift = _predicts_next_token(model)
    total, count = 0.0, 0
    with errors_on_all_ranks(data), evaluating(model):
        for batch in progress(batches(data), "evaluating"):
            batch = batch.to(device_of(model))
            losses = _losses(model, batch, shift)
            total += float(losses.double().sum())
            count += len(losses)
    total, count = sum_over_ranks(data, total), sum_over_ranks(data, count)
    if not count:
        raise DataError("the data has no token to predict: all labels are −100, or all sequences have one token")
    return float(torch.tensor(total / count, dtype=torch.float64).exp())


def predicts_tokens(data: Iterable[Any]) -> bool:
    """Whether the labels of the data are tokens [samples, tokens] rather than classes [samples]."""
    labels = first_batch(data).labels
    return isinstance(labels, Tensor) and labels.ndim == 2 and not labels.is_floating_point()


def _losses(model: nn.Module, batch: Batch, shift: bool) -> Tensor:
    """−log p of each predicted token, [tokens], computed in float32 or wider."""
    try:
        outputs = batch.call.run(model)
    except Exception as error:
        raise batch.model_error(error) from error
    logits, labels = logits_of(outputs, "perplexity"), batch.labels
    if not isinstance(labels, Tensor) or logits.shape[:-1] != labels.shape:
        raise DataError(
            f"batch {batch.index}: perplexity needs logits [samples, tokens, vocabulary] and labels [samples, tokens]"
        )
    if shift:
        logits, labels = logits[:, :-1], labels[:, 1:]
    predicted = labels != IGNORE_INDEX
    logits = logits[predicted]
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(wide, labels[predicted], reduction="none")


def _predicts_next_token(model: nn.Module) -> bool:
    """Whether the logits of a position predict the next token rather than the token at the position."""
    encoder_decoder = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    return task_of(type(model).__name__, encoder_decoder) not in ("masked", "seq2seq")
