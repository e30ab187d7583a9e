"""How well a model predicts text."""

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
    """Measure perplexity: exp(−(1/M) Σ log p(t_i | context of i)) over the M predicted tokens t_i.

    Of a text t_0 … t_{N−1}, a causal model predicts all M = N − 1 tokens but the first, each once. It reads windows of
    `length` L tokens that begin `stride` S apart; t_i is predicted in the first window that holds it, kS to kS + L − 1,
    from all tokens of that window before it: from all the text before it where i < L, else from L − S tokens or more.

    Args:
        model: gives logits [samples, tokens, vocabulary], as a tensor or as `logits`; evaluated, not changed. What a
            masked model or an encoder and decoder gives for a token is its prediction of that token, and otherwise of
            the next.
        data: the tokens of a text [N]; or batches with labels [samples, tokens], of which −100 is none to predict: each
            sequence is predicted by itself, and a causal model does not predict its first token. (Windows of a file
            are such batches: see `secateurs.text_data`.) Of a shard, all ranks' count.
        length: L, for a text.
        stride: S, for a text; less than L; by default half of it.
        batch_size: windows per batch, for a text.
        progress: wraps the iteration over the data.

    Raises:
        DataError: the data is empty, nothing in it is to be predicted, the stride is not less than the length, or the
            model fails on a batch.

    Example:
        >>> class Uniform(nn.Module):
        ...     "Every one of ten tokens has the same probability."
        ...     def forward(self, input_ids, **others):
        ...         return torch.zeros(*input_ids.shape, 10)
        >>> round(sc.perplexity(Uniform(), torch.arange(100) % 10, length=16), 3)
        10.0
    """
    if isinstance(data, Tensor):
        data = loader(Windows(data, length, stride or length // 2), batch_size)
    shift = _predicts_the_next(model)
    total, count = 0.0, 0
    with errors_on_all_ranks(data), evaluating(model):
        for batch in progress(batches(data), "evaluating"):
            batch = batch.to(device_of(model))
            losses = _losses(model, batch, shift)
            total += float(losses.double().sum())
            count += len(losses)
    total, count = sum_over_ranks(data, total), sum_over_ranks(data, count)
    if not count:
        raise DataError("nothing in the data is to be predicted: all labels are −100, or sequences have one token")
    return float(torch.tensor(total / count, dtype=torch.float64).exp())


def predicts_tokens(data: Iterable[Any]) -> bool:
    """Whether the labels of these batches are tokens [samples, tokens] rather than a class for each sample."""
    labels = first_batch(data).labels
    return isinstance(labels, Tensor) and labels.ndim == 2 and not labels.is_floating_point()


def _losses(model: nn.Module, batch: Batch, shift: bool) -> Tensor:
    """−log p of each token that is predicted [tokens], in 32 bits or more."""
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


def _predicts_the_next(model: nn.Module) -> bool:
    encoder_decoder = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    return task_of(type(model).__name__, encoder_decoder) not in ("masked", "seq2seq")
