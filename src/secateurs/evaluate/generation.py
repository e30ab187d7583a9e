"""Speed of text generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.errors import ModelError
from secateurs.evaluate.latency import median_times
from secateurs.utils import device_of, evaluating


def tokens_per_second(
    models: Sequence[nn.Module], prompt: Tensor, new_tokens: int = 32, seconds: float = 2.0
) -> list[float]:
    """Measure the speed of greedy generation: the median over repetitions of tokens per second, for each model.

    The models are run alternately, so that other load on the machine affects all of them. Compare only values of one
    call. The time includes processing of the prompt.

    Args:
        models: at least one model of the transformers library with a method `generate`.
        prompt: int64 tokens [samples, tokens]. The generated tokens of all samples are counted.
        new_tokens: number of tokens that are generated for each sample.
        seconds: total time in seconds for all models, after one warm-up run of each.

    Returns:
        Tokens per second of each model.

    Raises:
        ModelError: a model has no method `generate`, or generation fails.

    Example:
        >>> def speedup(dense, pruned, prompt):
        ...     before, after = sc.tokens_per_second([dense, pruned], prompt)
        ...     return after / before
    """
    with ExitStack() as stack:
        for model in models:
            if not callable(getattr(model, "generate", None)):
                raise ModelError(f"{type(model).__name__} has no method generate: give a model of transformers")
            stack.enter_context(evaluating(model))
        times = median_times([_generation(model, prompt, new_tokens) for model in models], seconds)
    return [len(prompt) * new_tokens / time for time in times]


def _generation(model: Any, prompt: Tensor, new_tokens: int) -> Callable[[], None]:
    """Make a function that generates exactly `new_tokens` tokens per sample once."""
    inputs = prompt.to(device_of(model))
    pad = getattr(model.generation_config, "pad_token_id", None)
    options = {"attention_mask": torch.ones_like(inputs), "pad_token_id": 0 if pad is None else pad, "do_sample": False}

    def generate() -> None:
        try:
            model.generate(inputs, max_new_tokens=new_tokens, min_new_tokens=new_tokens, **options)
        except Exception as error:
            raise ModelError(
                f"{type(model).__name__} cannot generate {new_tokens} tokens after a prompt {[*prompt.shape]}: {error}"
            ) from error

    return generate
