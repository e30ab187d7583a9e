"""Verification: compare the outputs of the cut model with the outputs of the masked dense model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.data import Call
from secateurs.errors import VerificationError
from secateurs.structure import outputs_of
from secateurs.surgery.cut import rebuild
from secateurs.surgery.shape_check import failure
from secateurs.surgery.without_randomness import WithoutRandomness
from secateurs.utils import evaluating, rng

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""The largest allowed difference of outputs, relative to the largest output, for each precision."""


def run_model(model: nn.Module, call: Call, watcher: AbstractContextManager[Any] | None = None) -> list[Tensor]:
    """Run the model in evaluation mode with a fixed random seed.

    Args:
        model: not changed.
        call: the inputs.
        watcher: a context around the run.

    Returns:
        Copies of the output tensors.
    """
    call = call.copy()
    with evaluating(model), rng(seed=0):
        with WithoutRandomness(), watcher or nullcontext():
            output = call.run(model)
        return [tensor.clone() for tensor in outputs_of(output)]


def difference(
    cut: list[Tensor], masked: list[Tensor], tolerance: Mapping[torch.dtype, float] = TOLERANCE
) -> str | None:
    """Compare the outputs of two models.

    Args:
        cut: the outputs of the cut model.
        masked: the outputs of the masked dense model.
        tolerance: the largest allowed difference, relative to the largest output, for each precision.

    Returns:
        A description of the difference, or None if it is within the tolerance.
    """
    if [t.shape for t in cut] != [t.shape for t in masked]:
        return f"output shapes {[list(t.shape) for t in cut]} should be {[list(t.shape) for t in masked]}"
    for number, (a, b) in enumerate(zip(cut, masked, strict=True)):
        if a.is_complex():
            a, b = torch.view_as_real(a), torch.view_as_real(b)
        if not a.is_floating_point():
            if not torch.equal(a, b):
                return f"output {number} differs"
            continue
        scale = b.nan_to_num(0, 0, 0).abs().max() if b.numel() else 0
        error = (a - b).abs().max() if b.numel() else 0
        equal = torch.allclose(a, b, rtol=0, atol=max(float(scale), 1e-30) * tolerance[a.dtype], equal_nan=True)
        if not equal:
            return f"output {number} differs by {float(error):.3g}; its largest value is {float(scale):.3g}"
    return None


def difference_from(expected: list[Tensor], model: nn.Module, call: Call) -> str | None:
    """Run a model, and describe how it fails or how the outputs differ from the expected ones, or return None."""
    try:
        return difference(run_model(model, call), expected)
    except Exception as error:  # the code of the model may raise anything
        return failure(error)


def in_double(model: nn.Module, call: Call) -> tuple[nn.Module, Call, list[Tensor]]:
    """Copy the model and the inputs in float64 and run the copy; if it fails, in the original precision.

    Constant parameters get noise, because a layer of zeros would hide a wrong cut.

    Args:
        model: not changed.
        call: example inputs.

    Returns:
        The copy, the inputs for the copy, and the outputs.

    Raises:
        VerificationError: no output is finite, so nothing can be compared.
    """
    generator = torch.Generator().manual_seed(0)
    parameters = {name for name, _ in model.named_parameters()}

    def change(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
        """Copy a tensor in the given precision, with noise if it is a constant parameter."""
        new = tensor.to(dtype or tensor.dtype, copy=True) if tensor.is_floating_point() else tensor.clone()
        if name in parameters and new.is_floating_point() and new.numel() and new.min() == new.max():
            new += 0.1 * torch.randn(new.shape, generator=generator).to(new)
        return new

    doubled = call.map(lambda t: t.double() if t.is_floating_point() else t)
    try:
        dense = rebuild(model, lambda name, tensor: change(name, tensor, torch.float64))
        outputs = run_model(dense, doubled)
        call = doubled
    except Exception:  # for example because the code contains a fixed float32
        dense = rebuild(model, lambda name, tensor: change(name, tensor, None))
        outputs = run_model(dense, call)
    floating = [t for t in outputs if t.is_floating_point() and t.numel()]
    if floating and not any(t.isfinite().any() for t in floating):
        raise VerificationError("no output is finite on the example inputs, so no cut can be verified")
    return dense, call, outputs
