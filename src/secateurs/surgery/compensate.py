"""`compensate`: the remaining units compensate for the removed ones, as far as they predict them linearly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from secateurs.budgets import Plan
from secateurs.data import first_batch
from secateurs.observe import Moments, Observations, Wanted, observe
from secateurs.structure import Structure, trace
from secateurs.surgery.compensate_weights import affected_weights, compensate_weights
from secateurs.utils import Progress, named_tensors, render, silent


@dataclass(frozen=True)
class Compensation:
    """The errors that removed units cause in the outputs of the weights which used them, before and after compensation.

    Attributes:
        before: per weight name, the root mean square of the missing output, divided by that of the whole output.
        after: the same error after compensation.
        skipped: weights that lost inputs and were not compensated, and the reasons.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    skipped: Mapping[str, str]

    @classmethod
    def of(cls, errors: Mapping[str, tuple[float, float]], skipped: Mapping[str, str]) -> Compensation:
        """Make a compensation from both errors of each weight."""
        before, after = ({name: pair[index] for name, pair in errors.items()} for index in (0, 1))
        return cls(before, after, skipped)

    @property
    def errors(self) -> dict[str, tuple[float, float]]:
        """Per weight name, the errors before and after."""
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
    """Update the weights that used removed units, so that the remaining units compensate for the removed ones.

    Call it right after the cut. With C the second moments of the features that a weight W is multiplied with, S the
    kept and R the removed features, W_S becomes W_S + W_R C_RS (C_SS + λI)⁻¹: the least squares solution over all
    samples and positions, with λ chosen by generalised cross-validation. If the layer has a bias, moments are taken
    about the mean, and the bias absorbs the change of the mean. Neither labels nor gradients are needed.

    A convolution has one feature per channel and kernel tap, observed at up to 256 positions of each sample (see
    `secateurs.structure.window`); a transposed convolution, or one with too many features, has one per channel. The
    cost is one forward pass of the dense model over the data, and 8 bytes per pair of features of each layer.

    Args:
        small: the model that `apply` made of `dense` with `plan`; changed in place.
        dense: the model before the cut; not changed.
        plan: the units that are kept.
        data: batches, see `secateurs.data.batches`; targets are ignored.
        structure: of `dense`; by default it is traced again on the first samples of the data.
        mean_only: replace each removed unit by its mean alone, which the bias absorbs, as FLAP does (arXiv 2312.11983,
            Eq. 9); layers without a bias are skipped.
        observed: statistics of the dense model on this data that exist already, for this structure, such as those that
            `compensation_statistics` names; only the missing ones are collected.
        progress: wraps the iteration over the data.

    Returns:
        The errors before and after, per weight.

    Raises:
        PlanError: `small` is not what `plan` makes of `dense`, or was trained or compensated since.
        DataError: see `secateurs.observe.observe`.

    Example:
        >>> structure = sc.trace(model, example_inputs)
        >>> plan = sc.allocate(structure, sc.score(model, data, "l2", structure), "macs:0.5")
        >>> small = sc.apply(model, plan, example_inputs, structure)
        >>> result = sc.compensate(small, model, plan, data, structure)
        >>> all(result.after[name] <= result.before[name] for name in result.before)
        True
    """
    if structure is None:
        structure = trace(dense, first_batch(data).sample(2), kinds="all")
    plan.check(structure)
    affected, skipped = affected_weights(structure, plan, mean_only)
    wanted = {c.operand: (Moments,) for contractions in affected.values() for c in contractions}
    observations = observe(dense, data, wanted, progress, "observing, to compensate", observed)
    tensors, targets = dict(named_tensors(dense)), dict(named_tensors(small))
    errors = compensate_weights(affected, targets, dense, tensors, plan, structure, observations, mean_only)
    return Compensation.of(errors, skipped)


def compensation_statistics(structure: Structure) -> Wanted:
    """The statistics that compensation may need, whichever units are removed."""
    groups = structure.groups.values()
    return {c.alike.operand: (Moments,) for group in groups for c in structure.contractions_of(group)}
