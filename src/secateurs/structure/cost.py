"""What a model costs: parameters, multiply-accumulate operations, and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from secateurs.data import as_call
from secateurs.errors import TraceError
from secateurs.utils import device_of, evaluating


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
    """The number of parameters and of multiply-accumulate operations (MACs) of a model.

    Attributes:
        params: number of parameters; a parameter that several modules share counts once.
        macs: multiply-accumulate operations of one forward pass on the example inputs as a whole.
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
