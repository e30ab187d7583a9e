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
    """Measure the median time of one forward pass of each model on the same inputs.

    The models are run alternately, so that other load on the machine affects all of them. Compare only values of one
    call.

    Args:
        models: at least one module; evaluated, not changed.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        seconds: total time in seconds for all models, after one warm-up pass of each.

    Returns:
        Seconds per forward pass of each model.
    """
    call = as_call(example_inputs)
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluating(model))
        return median_times([partial(call.to(device_of(model)).run, model) for model in models], seconds)


def median_times(actions: Sequence[Callable[[], Any]], seconds: float) -> list[float]:
    """Measure the median time of each action. The actions are run alternately, at least 3 times each.

    Args:
        actions: at least one function. The time includes the work that it queues on an accelerator.
        seconds: total time in seconds for all actions, after one warm-up run of each.

    Returns:
        Seconds per run of each action.
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
