"""The cost of a model: parameters and multiply-accumulate operations."""

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


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-accumulate operations (MACs) of a model.

    Attributes:
        params: the number of parameters; a parameter that several modules share counts once.
        macs: the MACs of one forward pass on the whole batch of example inputs; half the floating-point operations.

    Example:
        >>> print(sc.cost(nn.Linear(4, 3), torch.randn(1, 4)))
        15 parameters, 12 MACs
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    params: int
    macs: int

    def __str__(self) -> str:
        return f"{self.params:,} parameters, {self.macs:,} MACs"


def cost(model: nn.Module, example_inputs: Any) -> Cost:
    """Count the parameters and the multiply-accumulate operations (MACs) of a model.

    The MACs of matrix products, convolutions and attention are counted, by the formulas of `torch.utils.flop_counter`.
    Custom operators are counted if a formula was registered with `torch.utils.flop_counter.register_flop_formula`.

    Args:
        model: any module. It runs once, in evaluation mode and without gradients.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments. MACs are counted for
            the whole batch; give one sample to count MACs per sample.

    Returns:
        The number of parameters and of MACs.

    Raises:
        TraceError: the model does not run on the inputs.

    Example:
        >>> sc.cost(model, example_inputs).params == sum(p.numel() for p in model.parameters())
        True
        >>> sc.cost(nn.Linear(4, 3), torch.randn(2, 4)).macs  # 2 samples × 4 inputs × 3 outputs
        24
    """
    call = as_call(example_inputs).to(device_of(model)).copy()
    counter = _MacCounter()
    with evaluating(model), counter:
        try:
            call.run(model)
        except Exception as error:
            raise TraceError(f"the model does not run on the example inputs ({call.describe()}): {error}") from error
    return Cost(params=sum(p.numel() for p in model.parameters()), macs=counter.total)


def macs_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int | None:
    """Count the multiply-accumulate operations of one operator call; None if there is no formula for the operator."""
    operator = func._overloadpacket
    formula = flop_registry.get(operator) or _FORMULAS.get(operator)
    return formula(*args, **kwargs, out_val=out) // 2 if formula else None


class _MacCounter(TorchDispatchMode):
    """Counts the MACs of all operators that run in the context."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.total += macs_of(func, args, kwargs or {}, out) or 0
        return out


def _grouped_product(a: Any, b: Any, *_: Any, **__: Any) -> int:
    return 2 * a.numel() * b.shape[-1]


def _recurrent_layer(x: Any, w_input: Any, w_hidden: Any, *_: Any, **__: Any) -> int:
    return 2 * (x.numel() // x.shape[-1]) * (w_input.numel() + w_hidden.numel())


aten = torch.ops.aten
_FORMULAS = {
    aten._grouped_mm: _grouped_product,
    aten.mkldnn_rnn_layer: _recurrent_layer,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
}
"""FLOP formulas that torch 2.13 lacks: for products of experts, and for recurrent layers and attention on the CPU."""
