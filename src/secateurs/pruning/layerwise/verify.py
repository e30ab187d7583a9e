"""Verification: what was written computes what the dense model does with the removed units set to zero."""

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
from secateurs.pruning.layerwise.execution_plan import OUTSIDE, Passage
from secateurs.pruning.layerwise.offloaded_model import Change, Hollow
from secateurs.pruning.layerwise.stages import staged
from secateurs.structure import Structure, sliced, zeroed
from secateurs.surgery import TOLERANCE, difference, run_model

CLOSE = {**TOLERANCE, torch.float64: 1e-6}
"""As norms compute in 32 bits, what differs in the last of 64 may come to differ in the last of 32."""


CURE = "leave groups of some kind whole (keep=..., kinds=...), or prune the whole model, which finds out which"


def verify(
    source: Pretrained,
    small: Pretrained,
    passage: Passage,
    structure: Structure,
    plan: Plan,
    given: Call,
    device: torch.device,
) -> None:
    """Compare a cut model, as it lies in its directory, with the dense one, layer by layer in float64.

    The weights must be, bit by bit, those that the plan leaves. If the removal of all units is exact, what each layer
    returns must be that of the dense model with their parameters set to zero, to 1e-6 of the largest value; otherwise
    the model's outputs must have the same shapes and be as finite. (A model that does not run in float64 is compared
    in its own precision.)

    Args:
        source: the dense model.
        small: the cut model, not compensated.
        passage, structure: of the dense model.
        plan: what was removed.
        given: to compare on.
        device: where to run.

    Raises:
        VerificationError: they differ.
    """
    exact = not any(gone and structure.group(name).inexact for name, gone in plan.removed().items())
    with tempfile.TemporaryDirectory() as folder:
        pair = _Pair(source, small, structure.keep_masks(plan.keep), device, Path(folder))
        call, dtype = given.map(lambda t: t.double() if t.is_floating_point() else t), torch.float64
        try:
            expected = pair.of_dense(passage, call, dtype)
        except Exception:  # code that asks for float32 by name, for example
            call, dtype = given, None
            expected = pair.of_dense(passage, call, dtype)
        try:
            found = pair.of_cut(passage, call, dtype)
        except VerificationError:
            raise
        except Exception as error:
            raise VerificationError(
                f"what was cut does not run: {error}; {CURE}, or come to other numbers with Limits(multiple=...)"
            ) from error
    for name in found if exact else [OUTSIDE]:
        ours, theirs = found[name], expected[name]
        if not exact:
            ours, theirs = [t.isfinite() for t in ours], [t.isfinite() for t in theirs]
        if why := difference(ours, theirs, CLOSE):
            raise VerificationError(
                f"what was cut does not compute what it should in {name or 'what follows the layers'}: {why}; {CURE}"
            )


class _Pair:
    """The dense model with removed units set to zero, and the cut one."""

    def __init__(
        self, source: Pretrained, small: Pretrained, masks: dict[str, list[Tensor]], device: torch.device, folder: Path
    ):
        self._source, self._small, self._masks, self._device, self._folder = source, small, masks, device, folder
        self._dense = self._hollow(source, lambda name, tensor: tensor)
        self._parameters = {name for name, _ in self._dense.model.named_parameters(remove_duplicate=False)}

    def of_dense(self, passage: Passage, call: Call, dtype: torch.dtype | None) -> dict[str, list[Tensor]]:
        """What each layer of the dense model, with these units set to zero, and the model return in this precision."""

        def masked(name: str, tensor: Tensor) -> Tensor:
            wide = self._wide(name, tensor, dtype)
            left = self._masks[name]
            return wide if name not in self._parameters or _all(left) else zeroed(wide, left)

        return _returned(self._hollow(self._source, masked), passage, call)

    def of_cut(self, passage: Passage, call: Call, dtype: torch.dtype | None) -> dict[str, list[Tensor]]:
        """The same of the cut model.

        Raises:
            VerificationError: its weights are not those that are planned.
        """

        def cut(name: str, tensor: Tensor) -> Tensor:
            dense, left = self._dense[name], self._masks[name]
            if tensor.dtype != dense.dtype or not torch.equal(tensor, dense if _all(left) else sliced(dense, left)):
                raise VerificationError(f"{name!r} was written, or is made by the model's class, other than planned")
            wide = self._wide(name, dense, dtype)
            return wide if _all(left) else sliced(wide, left)

        return _returned(self._hollow(self._small, cut), passage, call)

    def _hollow(self, source: Pretrained, change: Change) -> Hollow:
        return Hollow(*source.without_weights(Path(tempfile.mkdtemp(dir=self._folder))), self._device, change)

    def _wide(self, name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
        """In this precision, a constant parameter with noise: what a layer of zeros makes of a wrong cut is right."""
        wide = tensor.to(dtype or tensor.dtype) if tensor.is_floating_point() else tensor
        if name not in self._parameters or not wide.is_floating_point() or wide.min() != wide.max():
            return wide
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        return wide + 0.1 * torch.randn(wide.shape, generator=generator).to(wide)


def _all(masks: list[Tensor]) -> bool:
    """Whether all of a tensor stays, which need not be copied then."""
    return all(mask.all() for mask in masks)


def _returned(hollow: Hollow, passage: Passage, call: Call) -> dict[str, list[Tensor]]:
    found = {}
    with staged(hollow, passage, [call]) as stages:
        for name in stages.names:
            with stages.at(name) as data:
                for item in data:
                    found[name] = run_model(stages.model, item)
    return found
