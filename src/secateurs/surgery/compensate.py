"""Update weights so that the remaining units compensate for the removed ones (`compensate`)."""

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
    """The output errors of the weights that used removed units, before and after compensation.

    Attributes:
        before: weight name to the root mean square of the missing output, divided by the root mean square of the output
            of the dense model.
        after: weight name to the same error after compensation.
        skipped: the names of weights that lost inputs and were not compensated, with the reasons.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    skipped: Mapping[str, str]

    @classmethod
    def of(cls, errors: Mapping[str, tuple[float, float]], skipped: Mapping[str, str]) -> Compensation:
        """Create a compensation from a mapping of weight name to the errors before and after."""
        before, after = ({name: pair[index] for name, pair in errors.items()} for index in (0, 1))
        return cls(before, after, skipped)

    @property
    def errors(self) -> dict[str, tuple[float, float]]:
        """Weight name to the errors before and after compensation."""
        return {name: (error, self.after[name]) for name, error in self.before.items()}

    def __str__(self) -> str:
        rows = [(name, f"{before:.1%}", f"{after:.1%}") for name, (before, after) in self.errors.items()]
        text = render("compensation", ("weight", "output error", "after compensation"), rows)
        if self.skipped:
            text += render("not compensated", ("weight", "reason"), list(self.skipped.items()))
        return text


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

    Call this function right after the cut. Labels and gradients are not needed.

    Let C be the second moments of the features that a weight W is multiplied with, S the kept features and R the
    removed features. W_S becomes W_S + W_R C_RS (C_SS + λI)⁻¹. This is the least squares solution over all samples and
    positions; generalised cross-validation chooses λ. If the layer has a bias, moments are taken about the mean, and
    the bias absorbs the change of the mean.

    A convolution has one feature per channel and kernel tap, observed at up to 256 positions of each sample (see
    `secateurs.structure.window`). A transposed convolution, or a convolution with too many features, has one feature
    per channel. The cost is one forward pass of the dense model over the data, and 8 bytes of memory per pair of
    features of each layer.

    Args:
        small: the result of `apply` for `dense` and `plan`; changed in place.
        dense: the model before the cut; not changed.
        plan: the kept units.
        data: batches, see `secateurs.data.batches`; targets are ignored.
        structure: of `dense`; by default the model is traced again on the first samples of the data.
        mean_only: whether only biases are updated: each removed unit is replaced by its mean, as in FLAP (arXiv
            2312.11983, Eq. 9). Layers without a bias are skipped.
        observed: existing statistics of the dense model on this data and for this structure, for example those that
            `compensation_statistics` lists; only missing statistics are collected.
        progress: wraps the iteration over the data.

    Returns:
        The output errors of each weight before and after compensation.

    Raises:
        PlanError: `small` is not the result of `plan` for `dense`, or was trained or compensated after the cut.
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
    """List the statistics that compensation may need for any plan.

    Args:
        structure: of the dense model.

    Returns:
        The classes of statistics at each tap, for `secateurs.observe.observe`.
    """
    groups = structure.groups.values()
    return {c.alike.operand: (Moments,) for group in groups for c in structure.contractions_of(group)}
