"""`ndi_report`: measure the quantities in the theorems of NDI for a plan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from secateurs.budgets import Plan
from secateurs.criteria import sampling_error, spectral_gap, varies
from secateurs.data import Batch, batches, errors_on_all_ranks, first_batch, sum_over_ranks
from secateurs.errors import DataError
from secateurs.observe import Pooled, observe
from secateurs.structure import Structure, kept_entries, outputs_of, trace
from secateurs.utils import check_has_values, device_of, evaluating, render


@dataclass(frozen=True)
class SampleCheck:
    """Whether one group has enough samples for Corollary 6.12.

    Attributes:
        samples: the number N of samples.
        units: the number C of units whose activations vary over the samples.
        gap: the spectral gap γ = λ_k − λ_{k+1} of the correlation matrix R of these units, at k = C / 2.
        error: an estimate of the sampling error ‖R̂ − R‖₂: half of ‖R₁ − R₂‖₂, where R₁ and R₂ are the correlation
            matrices of the samples with even and with odd indices.
    """

    samples: int
    units: int
    gap: float
    error: float

    @property
    def enough(self) -> bool:
        """Whether the error is below γ / 4, the condition of the corollary."""
        return self.error < self.gap / 4

    @property
    def needed(self) -> float:
        """Roughly the number of samples that would be enough, since the error is proportional to 1 / √N."""
        return self.samples * (4 * self.error / self.gap) ** 2 if self.gap > 0 else math.inf


@dataclass(frozen=True)
class NDIReport:
    """The measured quantities in the theorems of NDI; `str` renders them.

    Attributes:
        made: Δ of Eq. 30, the l2 norm of the removed parameters that produce the removed units.
        removed: the l2 norm of all removed parameters: those that produce the units, and the columns of later layers
            that multiply them.
        change: |Δf|, the l2 norm of the change of the outputs when all removed parameters are set to zero, as the root
            mean square over samples.
        groups: group name → the check of the number of samples, for each group whose activations can be observed.
    """

    made: float
    removed: float
    change: float
    groups: Mapping[str, SampleCheck]

    @property
    def ratio(self) -> float:
        """`change` / `removed`, a lower bound of the Lipschitz constant L_Θ of Theorem 3.6."""
        return self.change / self.removed if self.removed > 0 else 0.0

    def __str__(self) -> str:
        rows = [
            (
                name,
                check.samples,
                check.units,
                check.gap,
                check.error,
                f"{check.needed:.2g}",
                "yes" if check.enough else "no",
            )
            for name, check in self.groups.items()
        ]
        return (
            f"Δ = {self.made:.4g} (Eq. 30), {self.removed:.4g} with the consumers' columns; outputs change by "
            f"{self.change:.4g}, so the Lipschitz constant of Theorem 3.6 is at least {self.ratio:.4g}\n\n"
            + render("samples", ("group", "samples", "units", "gap γ", "error δ", "needed", "δ < γ/4"), rows)
            + "The constants C₁ and σ of Corollary 6.12 are unknown; δ is estimated from two halves of the samples.\n"
        )


def ndi_report(dense: nn.Module, plan: Plan, data: Iterable[Any], structure: Structure | None = None) -> NDIReport:
    """Measure the quantities in the theorems of NDI (neural differentiation, Eq. 30, Corollary 6.12) for a plan.

    Args:
        dense: the model before the cut; it is not changed.
        plan: the units that are kept.
        data: batches, with or without labels, that can be read several times; see `secateurs.data.batches`.
        structure: the structure of `dense`; by default it is traced on the first samples of the data.

    Returns:
        Norms of the removed parameters, the change of the outputs, and the sample-size check of each group.

    Raises:
        ModelError: the model is on the meta device.
        PlanError: the plan is for another model.
        DataError: there are fewer than 4 samples, or the data can be read only once, is empty, or is rejected by the
            model.

    Example:
        >>> result = sc.prune(model, data, criterion="ndi", budget="keep:0.5", compensate=False)
        >>> report = sc.ndi_report(model, result.plan, data)
        >>> report.change > 0
        True
    """
    check_has_values(dense, "the report")
    example = first_batch(data).sample(2)  # refuses data that can be read only once
    structure = trace(dense, example) if structure is None else structure
    plan.check(structure)
    removed = _removed(plan, structure)
    return NDIReport(
        made=_norm(dense, _removed(plan, structure, producers_only=True)),
        removed=_norm(dense, removed),
        change=_change(dense, removed, data),
        groups=_sample_checks(dense, data, structure),
    )


def _removed(plan: Plan, structure: Structure, producers_only: bool = False) -> dict[str, Tensor]:
    """Parameter name → its removed entries, bool in its shape.

    Args:
        plan: the units that are kept.
        structure: the structure of the dense model.
        producers_only: leave out the entries that are removed only because they multiply removed units.
    """
    consumed = {(m.tensor, m.dim) for group in structure.groups.values() for m in group.members if m.consumed}
    removed = {}
    for name, dims in structure.keep_masks(plan.keep).items():
        kept = kept_entries([mask | (producers_only and (name, dim) in consumed) for dim, mask in enumerate(dims)])
        if name in structure.parameters and not kept.all():
            removed[name] = ~kept
    return removed


def _norm(dense: nn.Module, entries: Mapping[str, Tensor]) -> float:
    """The l2 norm of the marked entries of all parameters."""
    parts = [dense.get_parameter(name).detach()[mask.to(device_of(dense))] for name, mask in entries.items()]
    return math.sqrt(sum(float(part.double().square().sum()) for part in parts))


def _change(dense: nn.Module, removed: Mapping[str, Tensor], data: Iterable[Any]) -> float:
    """The l2 norm of the change of the outputs without the removed entries, as the root mean square over samples."""
    total, samples = 0.0, 0
    with errors_on_all_ranks(data), evaluating(dense):
        zeroed = {
            name: dense.get_parameter(name).masked_fill(mask.to(device_of(dense)), 0) for name, mask in removed.items()
        }
        for batch in batches(data):
            batch = batch.to(device_of(dense))
            before, after = _outputs(dense, {}, batch), _outputs(dense, zeroed, batch)
            total += sum(float((a - b).abs().double().square().sum()) for a, b in zip(before, after, strict=True))
            samples += batch.size
    return math.sqrt(sum_over_ranks(data, total) / sum_over_ranks(data, samples))


def _outputs(dense: nn.Module, changed: Mapping[str, Tensor], batch: Batch) -> list[Tensor]:
    """The output tensors of the model, with some parameters replaced."""
    call = batch.call.copy()
    try:
        out = functional_call(dense, dict(changed), call.args, call.kwargs)
    except Exception as error:
        raise batch.model_error(error) from error
    # A scalar is a loss that the model returns beside its outputs.
    return [t for t in outputs_of(out) if t.ndim and (t.is_floating_point() or t.is_complex())]


def _sample_checks(dense: nn.Module, data: Iterable[Any], structure: Structure) -> dict[str, SampleCheck]:
    """Check each group at the tap of its activations that needs the most samples."""
    taps = {name: group.after for name, group in structure.groups.items() if group.after}
    observations = observe(dense, data, {tap: [Pooled] for group_taps in taps.values() for tap in group_taps})
    checks_of = {
        name: [_check(observations[tap, Pooled].values.double()) for tap in group_taps]
        for name, group_taps in taps.items()
    }
    return {name: max(checks, key=lambda check: check.needed) for name, checks in checks_of.items()}


def _check(z: Tensor) -> SampleCheck:
    """Check the number of samples of activations [samples, units]."""
    if len(z) < 4:
        raise DataError(f"{len(z)} samples are too few to estimate the error of correlations; give at least 4")
    varying = varies(z[::2]) & varies(z[1::2])
    units = int(varying.sum())
    gap, error = (spectral_gap(z[:, varying]), sampling_error(z[:, varying])) if units > 1 else (0.0, 0.0)
    return SampleCheck(len(z), units, gap, error)
