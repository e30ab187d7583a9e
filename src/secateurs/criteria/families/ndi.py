"""NDI, the neural differentiation index: the product of a unit's diversity, informativeness and sensitivity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from secateurs.budgets import Scope
from secateurs.criteria.criterion import Composite, GroupScores
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.families.magnitude import relative
from secateurs.criteria.families.ndi_components import NORM, PAPER
from secateurs.criteria.normalizers import robust_z
from secateurs.criteria.registry import CRITERIA, add, criterion
from secateurs.errors import CriterionError

FLOOR = 1e-3
"""ε_f of Eq. 22."""
COMPONENTS = ("diversity", "informativeness", "fisher")
LITERAL_COMPONENTS = ("diversity-literal", "informativeness-literal", "sensitivity-literal")
LIMITS = "needs labels and more samples than units"
LITERAL_LIMITS = "as printed in the paper: the components carry little signal (see the limits of each)"
Exponents = tuple[float, float, float]
"""p, q and r of Eq. 22: the exponents of diversity, informativeness and sensitivity."""
Calibration = Callable[[GroupScores], GroupScores]


def calibrate(scores: GroupScores) -> GroupScores:
    """Calibrate scores across layers as printed in the paper (Eq. 12-16).

    Robust z-scores within each layer are followed by z-scores over the whole network and the normal distribution
    function Φ. If more than half of a layer's units have equal scores, Eq. 13 divides by ε_norm. Then the remaining
    units of this layer get values so large that the scores of all other layers become almost equal.

    Args:
        scores: group name to scores [units].

    Returns:
        Group name to calibrated scores [units], in (0, 1).
    """
    return _network_quantiles({name: robust_z(values, NORM) for name, values in scores.items()})


def calibrate_live(scores: GroupScores) -> GroupScores:
    """Calibrate scores across layers, with separate treatment of dead units.

    This differs from `calibrate` in three ways. Units that score 0, such as dead units, keep 0 and do not enter the
    medians. ε_norm is not used. If more than half of the other units have equal scores, the mean absolute deviation
    replaces the median absolute deviation.

    Args:
        scores: group name to scores [units], ≥ 0.

    Returns:
        Group name to calibrated scores [units], in [0, 1).
    """
    live = {name: values > 0 for name, values in scores.items()}
    calibrated = {name: torch.zeros_like(values) for name, values in scores.items()}
    z_scores = {name: _robust_z(values[live[name]]) for name, values in scores.items() if live[name].any()}
    for name, values in (_network_quantiles(z_scores) if z_scores else {}).items():
        calibrated[name][live[name]] = values
    return calibrated


def _network_quantiles(z_scores: GroupScores) -> GroupScores:
    """Φ of the z-scores over all units of the network (Eq. 14-16)."""
    all_scores = torch.cat(list(z_scores.values()))
    mean, deviation = all_scores.mean(), all_scores.std(correction=0)
    return {name: torch.special.ndtr((values - mean) / (deviation + NORM)) for name, values in z_scores.items()}


def _robust_z(scores: Tensor) -> Tensor:
    """Distances from the median, divided by a robust estimate of the standard deviation if it is not zero."""
    distance = scores - scores.quantile(0.5)
    # Both factors turn an absolute deviation into the standard deviation of normally distributed scores.
    spread = 1.4826 * distance.abs().quantile(0.5) or math.sqrt(math.pi / 2) * distance.abs().mean()
    return distance / spread if spread > 0 else distance


def index(parts: Mapping[str, GroupScores], calibration: Calibration, exponents: Exponents) -> GroupScores:
    """The index (d + ε_f)^p (u + ε_f)^q (s + ε_f)^r of the calibrated components (Eq. 22)."""
    factors = [
        {name: (values + FLOOR) ** power for name, values in calibration(scores).items()}
        for scores, power in zip(parts.values(), exponents, strict=True)
    ]
    return {name: torch.stack([factor[name] for factor in factors]).prod(0) for name in factors[0]}


def importance(parts: Mapping[str, GroupScores]) -> GroupScores:
    """The index × the norm of the unit's weights, divided by the mean of the layer (Eq. 36)."""
    indices, norms = parts.values()
    return {name: values * norms[name] for name, values in indices.items()}


@criterion("weight-norm", source=f"{PAPER}, Eq. 36, left", scope="global", limits="ignores data")
def weight_norm(evidence: Evidence) -> Tensor:
    """Frobenius norm of the weights that produce the unit, divided by the group's mean."""
    return relative(evidence.combine([w.double().norm(dim=1) for w in evidence.weights(consumed=False)]))


def differentiation(p: float = 1, q: float = 1, r: float = 1) -> Composite:
    """Build the criterion "ndi" with other exponents (Eq. 22).

    Args:
        p: exponent of the diversity.
        q: exponent of the informativeness.
        r: exponent of the sensitivity.

    Raises:
        CriterionError: an exponent is not a number > 0.
    """
    for power in (p, q, r):
        if not isinstance(power, (int, float)) or not 0 < power < math.inf:
            raise CriterionError(f"the exponents of ndi must be numbers > 0, not {p!r}, {q!r} and {r!r}")
    return _composites(f"({p:g},{q:g},{r:g})", COMPONENTS, calibrate_live, (p, q, r), LIMITS)[1]


def _composites(
    suffix: str, components: tuple[str, ...], calibration: Calibration, exponents: Exponents, limits: str
) -> tuple[Composite, Composite]:
    """The criteria "ndi-index" and "ndi" of these components, with a suffix to the names."""
    index_criterion = Composite(
        name=f"ndi-index{suffix}",
        parts=tuple(CRITERIA[name] for name in components),
        join=partial(index, calibration=calibration, exponents=exponents),
        source=f"{PAPER}, Eq. 12-16 and 22",
        scope=Scope.GLOBAL,
        summary="Product of the calibrated diversity, informativeness and sensitivity.",
        limits=limits,
    )
    importance_criterion = Composite(
        name=f"ndi{suffix}",
        parts=(index_criterion, CRITERIA["weight-norm"]),
        join=importance,
        source=f"{PAPER}, Eq. 36",
        scope=Scope.GLOBAL,
        summary="The index × the norm of the weights that produce the unit.",
        limits=limits,
    )
    return index_criterion, importance_criterion


for _criterion in (
    *_composites("", COMPONENTS, calibrate_live, (1, 1, 1), LIMITS),
    *_composites("-literal", LITERAL_COMPONENTS, calibrate, (1, 1, 1), LITERAL_LIMITS),
):
    add(_criterion)
