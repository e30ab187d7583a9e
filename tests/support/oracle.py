"""An oracle that uses none of the pruner's records: it reads the kept weights from the pruned model itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.data import as_call
from secateurs.structure import outputs_of


def wrong(model: nn.Module, inputs: Any, prune: Callable[[nn.Module, Any], nn.Module]) -> str | None:
    """Prune a copy of the model and compare it with the dense copy whose removed weights are zero.

    All weights of the copy differ from each other, so that the values of the pruned model show which weights were kept.
    The tolerance is 1e-9 of the largest output in float64, or 1e-4 in float32 for a model that does not run in float64.

    Returns:
        The difference as text; None if there is none.
    """
    dense, inputs, tolerance = copy.deepcopy(model).double(), cast_inputs(inputs), 1e-9
    try:
        run_model(dense, inputs)
    except RuntimeError:
        dense, inputs, tolerance = dense.float(), cast_inputs(inputs, torch.float32), 1e-4
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in dense.parameters():
            p.add_(torch.rand(p.shape, generator=generator, dtype=p.dtype) * 1e-6)
    small = prune(copy.deepcopy(dense), inputs)
    kept = dict(small.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, p in dense.named_parameters():
            if name not in kept:  # Torch-Pruning may replace a module
                return f"parameter {name} is gone"
            if p.shape != kept[name].shape:
                p[~_kept(p, kept[name])] = 0
    for a, b in zip(run_model(small, inputs), run_model(dense, inputs), strict=True):
        if a.shape != b.shape:
            return f"shapes {list(a.shape)}, {list(b.shape)}"
        if a.is_floating_point() and a.numel():
            scale = float(b.nan_to_num().abs().max()) or 1.0
            error = float((a - b).nan_to_num().abs().max()) / scale
            if error > tolerance:
                return f"{error:.1e}"
    return None


def _kept(values: Tensor, kept: Tensor) -> Tensor:
    """A mask of the entries of `values` that occur in the smaller tensor `kept`; all values differ.

    Pruning usually keeps whole slices in their order. Then the neighbours of the first entry along each dimension
    give the mask, which is checked against all of `kept`. Otherwise every single value is looked up.
    """
    first = (values == kept.flatten()[0]).nonzero()
    mask = torch.ones((), dtype=torch.bool)
    for dim in range(values.ndim if len(first) == 1 else 0):
        line = values[tuple(slice(None) if d == dim else at for d, at in enumerate(first[0]))]
        neighbours = kept[tuple(slice(None) if d == dim else 0 for d in range(kept.ndim))]
        mask = mask.unsqueeze(-1) & torch.isin(line, neighbours)
    if mask.shape == values.shape and torch.equal(values[mask], kept.flatten()):
        return mask
    return torch.isin(values, kept)


def run_model(model: nn.Module, inputs: Any) -> list[Tensor]:
    """The output tensors of one forward pass in evaluation mode, with a fixed seed."""
    torch.manual_seed(0)
    with torch.no_grad():
        return list(outputs_of(as_call(inputs).run(model.eval())))


def cast_inputs(inputs: Any, dtype: torch.dtype = torch.float64) -> Any:
    """Example inputs with their floating-point tensors in another precision."""
    call = as_call(inputs).map(lambda t: t.to(dtype) if t.is_floating_point() else t)
    return call.kwargs or call.args
