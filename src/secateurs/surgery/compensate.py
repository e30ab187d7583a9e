"""`compensate`: what removed units did, those that stay take over, as far as they can predict it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from secateurs.budgets import Plan
from secateurs.data import first_batch
from secateurs.errors import PlanError
from secateurs.observe import Moments, Observations, Wanted, observe
from secateurs.structure import Contraction, Structure, sliced, trace
from secateurs.surgery.least_squares import Layer
from secateurs.utils import Progress, named_tensors, render, silent


@dataclass(frozen=True)
class Compensation:
    """What compensation did.

    Attributes:
        before: per weight, the error of what it puts out for want of the removed units: root mean square, relative to
            that of all that it puts out.
        after: the same once the remaining units have taken over.
        skipped: weights that lost inputs and were left as they are, and why.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    skipped: Mapping[str, str]

    @classmethod
    def of(cls, errors: Mapping[str, tuple[float, float]], skipped: Mapping[str, str]) -> Compensation:
        """From both errors of each weight."""
        before, after = ({name: its[number] for name, its in errors.items()} for number in (0, 1))
        return cls(before, after, skipped)

    @property
    def errors(self) -> dict[str, tuple[float, float]]:
        """Both errors of each weight."""
        return {name: (error, self.after[name]) for name, error in self.before.items()}

    def __str__(self) -> str:
        rows = [(name, f"{before:.1%}", f"{after:.1%}") for name, (before, after) in self.errors.items()]
        text = render("compensation", ("weight", "error of its output", "after compensation"), rows)
        return text + (render("not compensated", ("weight", "why"), list(self.skipped.items())) if self.skipped else "")


def compensate(
    small: nn.Module,
    dense: nn.Module,
    plan: Plan,
    data: Iterable[Any],
    structure: Structure | None = None,
    *,
    mean_only: bool = False,
    observed: Observations | None = None,
    progress: Progress = silent,
) -> Compensation:
    """Change the weights that used removed units so that the remaining ones do what those did; right after the cut.

    With C the second moments of what a weight W is multiplied with, S the features that stay and R those that go, W_S
    becomes W_S + W_R C_RS (C_SS + λI)⁻¹: the least squares solution over all samples and positions, with λ chosen by
    generalised cross-validation. Where the layer has a bias, moments are about the mean, and the bias takes up what
    the mean changes. No labels, no gradients. A convolution has a feature for each tap of its kernel and each channel,
    seen at up to 256 positions of each sample (`secateurs.structure.window`); one that is transposed, or would have too
    many features, has one per channel. It costs one forward pass of the dense model over the data, and 8 bytes per pair
    of features that go into one layer.

    Args:
        small: the model that `apply` made of `dense` by `plan`; changed in place.
        dense: the model before.
        plan: what was removed.
        data: see `secateurs.data.batches`; targets are not looked at.
        structure: of `dense`; by default it is traced again on the first samples of the data.
        mean_only: replace a removed unit by its mean alone, which goes into the bias, as FLAP does (arXiv 2312.11983,
            Eq. 9); a layer without a bias is skipped.
        observed: statistics of the dense model on this data that there are already, at taps of this structure, such as
            those that several plans `needs`; only those that are missing are collected.
        progress: wraps the iteration over the data.

    Returns:
        How well it went, layer by layer.

    Raises:
        PlanError: `small` is not what `plan` makes of `dense`, or was trained or compensated since.
        DataError: see `secateurs.observe.observe`.
    """
    if structure is None:
        structure = trace(dense, first_batch(data).sample(2), kinds="all")
    plan.check(structure)
    losers, skipped = affected_weights(structure, plan, mean_only)
    wanted = {c.operand: (Moments,) for its in losers.values() for c in its}
    observations = observe(dense, data, wanted, progress, "observing, to compensate", observed)
    tensors, targets = dict(named_tensors(dense)), dict(named_tensors(small))
    errors = compensate_weights(losers, targets, dense, tensors, plan, structure, observations, mean_only)
    return Compensation.of(errors, skipped)


def compensation_statistics(structure: Structure) -> Wanted:
    """The statistics that compensation may need, whatever is removed."""
    groups = structure.groups.values()
    return {c.alike.operand: (Moments,) for group in groups for c in structure.contractions_of(group)}


Losers = Mapping[str, Sequence[Contraction]]
"""The contractions of weights that lose inputs, by the names of these weights."""


def compensate_weights(
    losers: Losers,
    targets: Mapping[str, Tensor],
    dense: nn.Module,
    tensors: Mapping[str, Tensor],
    plan: Plan,
    structure: Structure,
    observations: Observations,
    mean_only: bool = False,
) -> dict[str, tuple[float, float]]:
    """Let what is left of these weights, and of their layers' biases, do the work of all; see `compensate`.

    Args:
        losers: of the weights.
        targets: what is left of the tensors, by name; changed in place.
        dense: the model before.
        tensors: its tensors.
        plan, structure: what was removed.
        observations: moments of what the weights are multiplied with.
        mean_only: see `compensate`.

    Returns:
        The errors of each weight before and after.
    """
    units, masks = structure.unit_masks(plan.keep), structure.keep_masks(plan.keep)
    errors: dict[str, tuple[float, float]] = {}
    for name, contractions in losers.items():
        weight, bias = tensors[name].detach(), structure.bias_of(contractions[0])
        new, energies = weight.clone(), torch.zeros(3, dtype=torch.float64)
        for expert in dict.fromkeys(c.expert for c in contractions):
            first, *others = (c for c in contractions if c.expert == expert)
            moments = observations[first.operand, Moments]
            for other in others:
                moments = moments.merge(observations[other.operand, Moments])
            layer = Layer(first, weight, first.kept(units), moments.mean)
            solution = layer.solve(moments.rows, bias is not None, mean_only)
            first.part(new).copy_(solution.weight)
            energies += moments.rows * torch.tensor([solution.lost, solution.left, solution.whole])
            if bias is not None:
                shift = _shift(dense, first, weight, solution.constant)
                _write(targets, bias, tensors[bias], tensors[bias].detach() + shift, masks[bias])
        before, after = (energies[:2] / energies[2]).sqrt().nan_to_num().tolist()
        errors[name] = before, after
        _write(targets, name, weight, new, masks[name])
    return errors


def affected_weights(structure: Structure, plan: Plan, mean_only: bool = False) -> tuple[Losers, dict[str, str]]:
    """The weights that lose inputs; and those that cannot be compensated, and why."""
    units = structure.unit_masks(plan.keep)
    found: dict[str, list[Contraction]] = defaultdict(list)
    for contraction in (c.alike for c in structure.contractions):
        kept = contraction.kept(units)
        if kept.any() and not kept.all():
            found[contraction.weight].append(contraction)
    skipped = {}
    for name, gone in plan.removed().items():
        for member in structure.group(name).members if gone else ():
            if member.consumed and member.tensor not in found:
                skipped[member.tensor] = "what it is multiplied with cannot be observed"
    for name, contractions in list(found.items()):
        reason = None
        if name in structure.tables:
            reason = "it is also a table in which rows are looked up"
        elif len({c.dim for c in structure.contractions if c.weight == name}) > 1:
            reason = "the model multiplies it from both sides"
        elif mean_only and structure.bias_of(contractions[0]) is None:
            reason = "it has no bias to take up the mean"
        if reason:
            skipped[name] = reason
            del found[name]
    return found, skipped


def _shift(dense: nn.Module, contraction: Contraction, weight: Tensor, constant: Tensor) -> Tensor:
    """What a constant per feature adds to each output [outputs], on average over positions."""
    module = dense.get_submodule(contraction.weight.rpartition(".")[0])
    if isinstance(module, _ConvNd) and not contraction.by_tap:  # which may pad with something else
        positions = [axis.size for axis in contraction.operand.axes[2:]]
        plane = constant.to(weight)[:, None].expand(-1, prod(positions)).reshape(1, -1, *positions)
        with torch.no_grad():
            out = functional_call(module, {"weight": weight}, (plane,)).flatten(2).mean((0, 2))
            return out if module.bias is None else out - module.bias
    blocks = contraction.blocks
    matrix = contraction.matrix(weight).double().unflatten(0, (blocks, -1))
    outputs = blocks * weight.numel() // contraction.axis.size
    added = torch.einsum("bf,bfo->bo", constant.unflatten(0, (blocks, -1)), matrix)
    return added.reshape(-1, outputs).sum(0).to(weight)  # for several positions of a flattened map, or one


def _write(targets: Mapping[str, Tensor], name: str, dense: Tensor, new: Tensor, masks: list[Tensor]) -> None:
    """Put what is kept of `new` in the place of what was kept of `dense`."""

    target = targets.get(name)
    if target is None or not torch.equal(target, sliced(dense.detach(), masks)):
        raise PlanError(
            f"{name!r} is not what the plan leaves of the dense model's: compensate right after the cut, once, and "
            "before any training"
        )
    with torch.no_grad():
        target.copy_(sliced(new, masks))
