"""Verification: the cut model must compute what the masked dense model computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from secateurs.data import Call
from secateurs.preserve import evaluating, rng
from secateurs.structure.trace import outputs_of
from secateurs.surgery.cut import rebuild

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference allowed, relative to the largest output, in the precision that the models are compared in."""


def run(model: nn.Module, call: Call) -> list[Tensor]:
    """The tensors of the model's output, in evaluation mode; models that draw random numbers draw the same ones."""
    with evaluating(model), rng(seed=0):
        return [tensor.clone() for tensor in outputs_of(call.run(model))]


def difference(cut: list[Tensor], masked: list[Tensor]) -> str | None:
    """How two models' outputs differ by more than the tolerance, or None."""
    if [t.shape for t in cut] != [t.shape for t in masked]:
        return f"output shapes {[list(t.shape) for t in cut]} are not {[list(t.shape) for t in masked]}"
    for number, (a, b) in enumerate(zip(cut, masked, strict=True)):
        if not a.is_floating_point():
            if not torch.equal(a, b):
                return f"output {number} differs"
            continue
        scale = b.nan_to_num(0, 0, 0).abs().max() if b.numel() else 0
        error = (a - b).abs().max() if b.numel() else 0
        same = torch.allclose(a, b, rtol=0, atol=max(float(scale), 1e-30) * TOLERANCE[a.dtype], equal_nan=True)
        if not same:
            return f"output {number} differs by {float(error):.3g} where the largest value is {float(scale):.3g}"
    return None


def in_double(model: nn.Module, call: Call) -> tuple[nn.Module, Call, list[Tensor]]:
    """A float64 copy of model and call, with its outputs; as they are if the model does not run in float64."""
    double = rebuild(model, lambda name, tensor: tensor.double() if tensor.is_floating_point() else tensor.clone())
    doubled = call.map(lambda t: t.double() if t.is_floating_point() else t)
    try:
        return double, doubled, run(double, doubled)
    except Exception:  # code that asks for float32 by name, for example
        return model, call, run(model, call)


def failure(error: Any) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
