"""`compensate`: what removed units did, those that stay take over, as far as they can predict it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from secateurs.data import first_batch, named_tensors
from secateurs.errors import PlanError
from secateurs.observe import Moments, observe
from secateurs.plan import Plan
from secateurs.progress import Progress, silent
from secateurs.structure import Contraction, Structure, trace
from secateurs.structure.axis import Var
from secateurs.structure.indexing import sliced
from secateurs.tables import render


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
    progress: Progress = silent,
) -> Compensation:
    """Change the weights that used removed units so that the remaining ones do what those did; right after the cut.

    With C the second moments of what a weight W is multiplied with, S the features that stay and R those that go, W_S
    becomes W_S + W_R C_RS (C_SS + λI)⁻¹: the least squares solution over all samples and positions, with λ chosen by
    generalised cross-validation. Where the layer has a bias, moments are about the mean, and the bias takes up what
    the mean changes (on average over positions, for convolutions that pad). No labels, no gradients. It costs one
    forward pass of the dense model over the data, and 8 bytes per pair of features that go into one layer.

    Args:
        small: the model that `apply` made of `dense` by `plan`; changed in place.
        dense: the model before.
        plan: what was removed.
        data: see `secateurs.data.batches`; targets are not looked at.
        structure: of `dense`; by default it is traced again on the first samples of the data.
        mean_only: replace a removed unit by its mean alone, which goes into the bias, as FLAP does (arXiv 2312.11983,
            Eq. 9); a layer without a bias is skipped.
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
    units = structure.unit_masks(plan.keep)
    losers, skipped = _losers(structure, plan, units, mean_only)
    wanted = {c.operand: (Moments,) for its in losers.values() for c in its}
    observations = observe(dense, data, wanted, progress, "observing, to compensate") if wanted else {}
    tensors, targets = dict(named_tensors(dense)), dict(named_tensors(small))
    masks = structure.keep_masks(plan.keep)
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    for name, contractions in losers.items():
        bias = structure.bias_of(contractions[0])
        moments = observations[contractions[0].operand, Moments]
        for other in contractions[1:]:
            moments = moments.merge(observations[other.operand, Moments])
        layer = _Layer(contractions[0], tensors[name].detach(), contractions[0].kept(units), moments.mean)
        solution = layer.solve(moments.rows, bias is not None, mean_only)
        before[name], after[name] = solution.before, solution.after
        _write(targets, name, tensors[name], solution.weight, masks[name])
        if bias is not None:
            shift = _shift(dense, contractions[0], tensors[name].detach(), solution.constant)
            _write(targets, bias, tensors[bias], tensors[bias].detach() + shift, masks[bias])
    return Compensation(before, after, skipped)


def _losers(
    structure: Structure, plan: Plan, units: Mapping[Var, Tensor], mean_only: bool
) -> tuple[dict[str, list[Contraction]], dict[str, str]]:
    """The contractions of the weights that lose inputs, per weight; and those that cannot be compensated, and why."""
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


class _Solution(NamedTuple):
    """A weight of the dense shape whose kept features do the work of all; what they miss on average, per feature."""

    weight: Tensor
    constant: Tensor
    before: float
    after: float


class _Layer:
    """One weight [features, outputs] in float64, with the second moments of its features and of the constant 1."""

    def __init__(self, contraction: Contraction, weight: Tensor, kept: Tensor, moments: Tensor):
        self._contraction, self._like = contraction, weight
        self._weight = contraction.matrix(weight).double()
        self._mean, self._products = moments[:-1, -1], moments[:-1, :-1]
        self._blocks = kept.to(weight.device).reshape(contraction.blocks, -1)

    def solve(self, rows: int, centre: bool, mean_only: bool) -> _Solution:
        """Let kept features take over; each block of a grouped convolution has its own."""
        weight, constant = self._weight.clone(), torch.zeros_like(self._mean)
        lost = left = whole = 0.0
        products = self._products - torch.outer(self._mean, self._mean) if centre else self._products
        start = 0
        for kept in self._blocks:
            stay, go = (start + mask.nonzero().flatten() for mask in (kept, ~kept))
            start += len(kept)
            if not len(stay):  # the block goes whole, with all that it puts out
                continue
            its = torch.cat([stay, go])
            whole += _energy(self._weight[its], self._products[its[:, None], its])
            lost += _energy(self._weight[go], self._products[go[:, None], go])
            share = torch.zeros(len(stay), len(go), dtype=weight.dtype, device=weight.device)
            if not mean_only:
                parts = (products[stay[:, None], stay], products[stay[:, None], go], products[go[:, None], go])
                share = _shares(*parts, self._weight[go], rows - centre)  # the mean takes a degree of freedom
            weight[stay] += share @ self._weight[go]
            if centre:
                constant[go] = self._mean[go] - share.T @ self._mean[stay]
            miss = torch.cat([-share, torch.eye(len(go), dtype=weight.dtype, device=weight.device)])
            left += _energy(miss @ self._weight[go], products[its[:, None], its])
        folded = self._contraction.fold(weight, self._like)
        before, after = ((energy / whole) ** 0.5 if whole else 0.0 for energy in (lost, left))
        return _Solution(folded, constant, before, after)


def _energy(weight: Tensor, products: Tensor) -> float:
    return float((weight * (products @ weight)).sum().clamp(min=0))


def _shares(stay: Tensor, cross: Tensor, whole: Tensor, weight: Tensor, rows: int) -> Tensor:
    """How much of each removed feature falls to each that stays: (C_SS + λI)⁻¹ C_SR, [stay, go].

    λ minimises the generalised cross-validation error (Golub, Heath & Wahba 1979) of what the removed features gave
    to the outputs: the unexplained energy by the square of the share of degrees of freedom left.
    """
    values, vectors = torch.linalg.eigh(stay)
    floor = len(values) * torch.finfo(values.dtype).eps * values[-1]
    values = torch.where(values > floor, values, 0)
    if values[-1] == 0:
        return torch.zeros_like(cross)
    rotated = vectors.T @ cross
    explicable = (rotated @ weight).square().sum(1) / values.clamp(min=floor)  # per direction, with λ = 0
    unexplained = (_energy(weight, whole) - explicable.sum()).clamp(min=0)
    ridges = torch.logspace(-14, 1, 61, dtype=values.dtype, device=values.device) * values.mean()
    ridges = ridges.clamp(min=floor)[:, None]
    kept_back = ridges / (values + ridges)
    error = unexplained + (explicable * kept_back.square()).sum(1)
    determined = values > 0
    freedom = (rows - determined.sum()).clamp(min=0) + (kept_back * determined).sum(1)
    best = (error / freedom.square()).argmin()
    return vectors @ (rotated / (values[:, None] + ridges[best]))


def _shift(dense: nn.Module, contraction: Contraction, weight: Tensor, constant: Tensor) -> Tensor:
    """What a constant per feature adds to each output [outputs], on average over positions."""
    module = dense.get_submodule(contraction.weight.rpartition(".")[0])
    if isinstance(module, _ConvNd):  # which may pad with something else
        positions = [axis.size for axis in contraction.operand.axes[2:]]
        plane = constant.to(weight)[:, None].expand(-1, prod(positions)).reshape(1, -1, *positions)
        with torch.no_grad():
            out = functional_call(module, {"weight": weight}, (plane,)).flatten(2).mean((0, 2))
            return out if module.bias is None else out - module.bias
    matrix = contraction.matrix(weight).double()
    return (constant @ matrix).reshape(weight.numel() // contraction.axis.size, -1).sum(1).to(weight)


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
