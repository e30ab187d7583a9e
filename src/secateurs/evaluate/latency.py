"""Latency: the median time of a forward pass."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn

from secateurs.data import as_call
from secateurs.utils import device_of, evaluating


def latencies(models: Sequence[nn.Module], example_inputs: Any, seconds: float = 1.0) -> list[float]:
    """Median seconds of one forward pass of each model on the same inputs.

    The models take turns, so that whatever else the machine does hits them alike: compare the figures of one call
    with each other, never with those of another.

    Args:
        models: at least one module.
        example_inputs: as for `cost`.
        seconds: time to spend on all of them together, after one warm-up pass each.
    """
    call = as_call(example_inputs)
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluating(model))
        return median_times([partial(call.to(device_of(model)).run, model) for model in models], seconds)


def median_times(actions: Sequence[Callable[[], Any]], seconds: float) -> list[float]:
    """Median seconds of each action; they take turns.

    Args:
        actions: at least one; what they put on an accelerator's queue is waited for.
        seconds: time to spend on all of them together, after doing each once to warm up.
    """
    times: list[list[float]] = [[] for _ in actions]
    end = float("inf")
    while time.perf_counter() < end or len(times[0]) < 4:
        for action, durations in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            if torch.accelerator.is_available():
                torch.accelerator.synchronize()
            durations.append(time.perf_counter() - start)
        if len(times[0]) == 1:
            end = time.perf_counter() + seconds
    return [statistics.median(durations[1:]) for durations in times]
