"""What a model costs: parameters, multiply-accumulate operations, and time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from secateurs.data import as_call, device_of
from secateurs.errors import TraceError
from secateurs.preserve import evaluating


def _grouped_product(a: Any, b: Any, *_: Any, **__: Any) -> int:
    return 2 * a.numel() * b.shape[-1]


def _recurrent_layer(x: Any, w_input: Any, w_hidden: Any, *_: Any, **__: Any) -> int:
    return 2 * (x.numel() // x.shape[-1]) * (w_input.numel() + w_hidden.numel())


aten = torch.ops.aten
FORMULAS = {
    **flop_registry,
    # Three that torch 2.13 leaves out: experts' products, and recurrent layers and attention on the processor.
    aten._grouped_mm: _grouped_product,
    aten.mkldnn_rnn_layer: _recurrent_layer,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
}


def macs_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Multiply-accumulate operations of one ATen operator, by the formulas of `torch.utils.flop_counter`."""
    formula = FORMULAS.get(func._overloadpacket)
    return formula(*args, **kwargs, out_val=out) // 2 if formula else 0


class MacCounter(TorchDispatchMode):
    """Counts the operations of everything that runs in the context."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.total += macs_of(func, args, kwargs or {}, out)
        return out


@dataclass(frozen=True)
class Cost:
    """Attributes:
    params: number of parameters, those shared by several modules counted once.
    macs: multiply-accumulate operations of one forward pass on the example inputs, as a whole.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    params: int
    macs: int

    def __str__(self) -> str:
        return f"{self.params:,} parameters, {self.macs:,} MACs"


def cost(model: nn.Module, example_inputs: Any) -> Cost:
    """Count a model's parameters, and its MACs as `torch.utils.flop_counter` does (matrix products and convolutions).

    Args:
        model: any module; it is run once, in evaluation mode.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments. The MACs are for all of it: give one sample
            to get MACs per sample.

    Raises:
        TraceError: the model does not run on the inputs.
    """
    call = as_call(example_inputs).to(device_of(model)).copy()
    counter = MacCounter()
    with evaluating(model), counter:
        try:
            call.run(model)
        except Exception as error:
            raise TraceError(f"the model does not run on the example inputs ({call.describe()}): {error}") from error
    return Cost(params=sum(p.numel() for p in model.parameters()), macs=counter.total)


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
        return in_turns([partial(call.to(device_of(model)).run, model) for model in models], seconds)


def in_turns(actions: Sequence[Callable[[], Any]], seconds: float) -> list[float]:
    """Median seconds of each action; they take turns.

    Args:
        actions: at least one; what they put on an accelerator's queue is waited for.
        seconds: time to spend on all of them together, after doing each once to warm up.
    """
    times: list[list[float]] = [[] for _ in actions]
    end = float("inf")
    while time.perf_counter() < end or len(times[0]) < 4:
        for action, its in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            if torch.accelerator.is_available():
                torch.accelerator.synchronize()
            its.append(time.perf_counter() - start)
        if len(times[0]) == 1:
            end = time.perf_counter() + seconds
    return [statistics.median(its[1:]) for its in times]
