"""Verification: the files of the cut model compute what the dense model computes with the removed units at zero."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import torch
from torch import Tensor

from secateurs.budgets import Plan
from secateurs.data import Call
from secateurs.errors import VerificationError
from secateurs.huggingface import Pretrained
from secateurs.pruning.layerwise.execution_plan import ExecutionPlan
from secateurs.pruning.layerwise.execution_trace import OUTSIDE
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel, Transform
from secateurs.pruning.layerwise.stages import open_stages
from secateurs.structure import Structure, sliced, zeroed
from secateurs.surgery import TOLERANCE, difference, run_model

LAYER_TOLERANCE = {**TOLERANCE, torch.float64: 1e-6}
"""Some norms compute in float32 even in a float64 model, which turns a rounding difference into one of float32."""

REMEDY = "leave the groups of some kind whole (keep=..., kinds=...), or prune the whole model, which finds out which"


def verify(
    source: Pretrained,
    small: Pretrained,
    *,
    plan: Plan,
    structure: Structure,
    execution: ExecutionPlan,
    call: Call,
    device: torch.device,
) -> None:
    """Compare the saved cut model with the dense one, layer by layer in float64.

    The weights must equal, bit by bit, those that the plan keeps. If the removal of all units is exact, each layer must
    return what the dense model's layer returns with the removed units' parameters at zero, within 1e-6 of the largest
    value. Otherwise the outputs of the model must have the same shapes and be finite in the same places. A model that
    does not run in float64 is compared in its own precision.

    Args:
        source: the dense model.
        small: the cut model, before compensation.
        plan: the units that are kept.
        structure: the structure of the dense model.
        execution: the execution plan of the dense model.
        call: a call with a few samples.
        device: the device to run on.

    Raises:
        VerificationError: the models differ.
    """
    exact = not any(removed and structure.group(name).inexact for name, removed in plan.removed().items())
    with tempfile.TemporaryDirectory() as folder:
        pair = _ModelPair(source, small, structure.keep_masks(plan.keep), device, Path(folder))
        double, dtype = call.map(lambda t: t.double() if t.is_floating_point() else t), torch.float64
        try:
            expected = pair.dense_outputs(execution, double, dtype)
        except Exception:  # some models convert to float32 in their own code
            double, dtype = call, None
            expected = pair.dense_outputs(execution, double, dtype)
        try:
            actual = pair.cut_outputs(execution, double, dtype)
        except VerificationError:
            raise
        except Exception as error:
            raise VerificationError(
                f"the cut model does not run: {error}; {REMEDY}, or choose other widths with Limits(multiple=...)"
            ) from error
    for name in actual if exact else [OUTSIDE]:
        ours, theirs = actual[name], expected[name]
        if not exact:
            ours, theirs = [t.isfinite() for t in ours], [t.isfinite() for t in theirs]
        if failure := difference(ours, theirs, LAYER_TOLERANCE):
            where = f"layer {name}" if name else "the model after its layers"
            raise VerificationError(f"the cut model and the masked dense model differ in {where}: {failure}; {REMEDY}")


class _ModelPair:
    """The dense model with removed units at zero, and the cut model."""

    def __init__(
        self, source: Pretrained, small: Pretrained, masks: dict[str, list[Tensor]], device: torch.device, folder: Path
    ):
        self._source, self._small, self._masks, self._device, self._folder = source, small, masks, device, folder
        self._dense = self._open(source, lambda name, tensor: tensor)
        self._parameters = {name for name, _ in self._dense.model.named_parameters(remove_duplicate=False)}

    def dense_outputs(self, plan: ExecutionPlan, call: Call, dtype: torch.dtype | None) -> dict[str, list[Tensor]]:
        """The outputs of each layer and of the model, in this precision, with removed units at zero."""

        def masked(name: str, tensor: Tensor) -> Tensor:
            converted, masks = self._convert(name, tensor, dtype), self._masks[name]
            return converted if name not in self._parameters or _keeps_all(masks) else zeroed(converted, masks)

        return _layer_outputs(self._open(self._source, masked), plan, call)

    def cut_outputs(self, plan: ExecutionPlan, call: Call, dtype: torch.dtype | None) -> dict[str, list[Tensor]]:
        """The outputs of each layer and of the cut model, in this precision.

        Raises:
            VerificationError: a weight is not what the plan keeps of the dense weight.
        """

        def checked(name: str, tensor: Tensor) -> Tensor:
            dense, masks = self._dense[name], self._masks[name]
            expected = dense if _keeps_all(masks) else sliced(dense, masks)
            if tensor.dtype != dense.dtype or not torch.equal(tensor, expected):
                raise VerificationError(f"{name!r} of the saved model is not the planned part of the dense tensor")
            converted = self._convert(name, dense, dtype)
            return converted if _keeps_all(masks) else sliced(converted, masks)

        return _layer_outputs(self._open(self._small, checked), plan, call)

    def _open(self, source: Pretrained, transform: Transform) -> OffloadedModel:
        return OffloadedModel(
            *source.without_weights(Path(tempfile.mkdtemp(dir=self._folder))), self._device, transform
        )

    def _convert(self, name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
        """Convert to this precision; add noise to a constant parameter, in which a wrong cut would go unnoticed."""
        converted = tensor.to(dtype or tensor.dtype) if tensor.is_floating_point() else tensor
        if name not in self._parameters or not converted.is_floating_point() or converted.min() != converted.max():
            return converted
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        return converted + 0.1 * torch.randn(converted.shape, generator=generator).to(converted)


def _keeps_all(masks: list[Tensor]) -> bool:
    """Whether a tensor stays whole, so that it need not be copied."""
    return all(mask.all() for mask in masks)


def _layer_outputs(model: OffloadedModel, plan: ExecutionPlan, call: Call) -> dict[str, list[Tensor]]:
    outputs = {}
    with open_stages(model, plan, [call]) as stages:
        for name in stages.names:
            with stages.at(name) as data:
                for item in data:
                    outputs[name] = run_model(stages.model, item)
    return outputs
