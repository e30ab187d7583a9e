"""Find the weights that lose inputs in a cut, and update them so that the remaining features compensate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from secateurs.budgets import Plan
from secateurs.errors import PlanError
from secateurs.observe import Moments, Observations
from secateurs.structure import Contraction, Structure, sliced
from secateurs.surgery.least_squares import LayerProblem

AffectedWeights = Mapping[str, Sequence[Contraction]]
"""Weight name to the contractions of the weight, for the weights that lose inputs."""


def affected_weights(
    structure: Structure, plan: Plan, mean_only: bool = False
) -> tuple[AffectedWeights, dict[str, str]]:
    """Find the weights that lose inputs.

    Args:
        structure: of the dense model.
        plan: the kept units.
        mean_only: see `compensate`.

    Returns:
        The weights that can be compensated; and the names of the weights that cannot, with the reasons.
    """
    units = structure.unit_masks(plan.keep)
    affected: dict[str, list[Contraction]] = defaultdict(list)
    for contraction in (c.alike for c in structure.contractions):
        kept = contraction.kept(units)
        if kept.any() and not kept.all():
            affected[contraction.weight].append(contraction)
    skipped = {}
    for name, removed in plan.removed().items():
        for member in structure.group(name).members if removed else ():
            if member.consumed and member.tensor not in affected:
                skipped[member.tensor] = "the inputs of the weight cannot be observed"
    for name, contractions in list(affected.items()):
        if reason := _reason_to_skip(structure, name, contractions[0], mean_only):
            skipped[name] = reason
            del affected[name]
    return affected, skipped


def _reason_to_skip(structure: Structure, name: str, contraction: Contraction, mean_only: bool) -> str | None:
    """The reason why a weight cannot be compensated, or None."""
    if name in structure.tables:
        return "the weight is also a lookup table"
    if len({c.dim for c in structure.contractions if c.weight == name}) > 1:
        return "the model sums over both dimensions of the weight"
    if mean_only and structure.bias_of(contraction) is None:
        return "the layer has no bias to absorb the mean"
    return None


def compensate_weights(
    affected: AffectedWeights,
    targets: Mapping[str, Tensor],
    dense: nn.Module,
    tensors: Mapping[str, Tensor],
    plan: Plan,
    structure: Structure,
    observations: Observations,
    mean_only: bool = False,
) -> dict[str, tuple[float, float]]:
    """Update the kept entries of weights and biases to compensate for the removed entries; see `compensate`.

    Args:
        affected: the weights to update, from `affected_weights`.
        targets: the tensors of the cut model, by name; changed in place.
        dense: the dense model.
        tensors: the tensors of the dense model, by name.
        plan: the kept units.
        structure: of the dense model.
        observations: the second moments of the inputs of each weight.
        mean_only: see `compensate`.

    Returns:
        Weight name to the errors before and after compensation; see `Compensation`.

    Raises:
        PlanError: a tensor of the cut model is not the kept part of the dense model's tensor.
    """
    units, masks = structure.unit_masks(plan.keep), structure.keep_masks(plan.keep)
    errors: dict[str, tuple[float, float]] = {}
    for name, contractions in affected.items():
        weight, bias = tensors[name].detach(), structure.bias_of(contractions[0])
        new, energies = weight.clone(), torch.zeros(3, dtype=torch.float64)
        for expert in dict.fromkeys(c.expert for c in contractions):
            first, *further = (c for c in contractions if c.expert == expert)
            moments = observations[first.operand, Moments]
            for contraction in further:
                moments = moments.merge(observations[contraction.operand, Moments])
            problem = LayerProblem(first, weight, first.kept(units), moments.mean)
            solution = problem.solve(moments.rows, bias is not None, mean_only)
            first.part(new).copy_(solution.weight)
            energies += moments.rows * torch.tensor([solution.missing, solution.residual, solution.whole])
            if bias is not None:
                shift = _bias_shift(dense, first, weight, solution.constant)
                _write(targets, bias, tensors[bias], tensors[bias].detach() + shift, masks[bias])
        before, after = (energies[:2] / energies[2]).sqrt().nan_to_num().tolist()
        errors[name] = before, after
        _write(targets, name, weight, new, masks[name])
    return errors


def _bias_shift(dense: nn.Module, contraction: Contraction, weight: Tensor, constant: Tensor) -> Tensor:
    """The mean output over positions [outputs] for inputs that are one constant per feature."""
    module = dense.get_submodule(contraction.weight.rpartition(".")[0])
    if isinstance(module, _ConvNd) and not contraction.by_tap:  # padding changes the outputs at the borders
        positions = [axis.size for axis in contraction.operand.axes[2:]]
        plane = constant.to(weight)[:, None].expand(-1, prod(positions)).reshape(1, -1, *positions)
        with torch.no_grad():
            out = functional_call(module, {"weight": weight}, (plane,)).flatten(2).mean((0, 2))
            return out if module.bias is None else out - module.bias
    blocks = contraction.blocks
    matrix = contraction.matrix(weight).double().unflatten(0, (blocks, -1))
    outputs = blocks * weight.numel() // contraction.axis.size
    added = torch.einsum("bf,bfo->bo", constant.unflatten(0, (blocks, -1)), matrix)
    return added.reshape(-1, outputs).sum(0).to(weight)  # the sum over the positions of a flattened feature map


def _write(targets: Mapping[str, Tensor], name: str, dense: Tensor, new: Tensor, masks: list[Tensor]) -> None:
    """Write the kept part of `new` into the tensor of the cut model, which must be the kept part of `dense`."""
    target = targets.get(name)
    if target is None or not torch.equal(target, sliced(dense.detach(), masks)):
        raise PlanError(
            f"{name!r} of the cut model differs from the kept part of {name!r} of the dense model; compensate only "
            "once, right after the cut and before any training"
        )
    with torch.no_grad():
        target.copy_(sliced(new, masks))
