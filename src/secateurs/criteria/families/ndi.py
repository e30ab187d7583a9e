"""NDI, the neural differentiation index: units that are diverse, informative and matter to the loss, all at once."""

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
from secateurs.criteria.hybrid import robust_z
from secateurs.criteria.registry import CRITERIA, add, criterion
from secateurs.errors import CriterionError

FLOOR = 1e-3  # ε_f
PARTS = ("diversity", "informativeness", "fisher")
PRINTED = ("diversity-literal", "informativeness-literal", "sensitivity-literal")
LIMITS = "needs labels and more samples than units"
AS_PRINTED = "as printed: the components carry little signal (see each)"
Exponents = tuple[float, float, float]
"""p, q and r of Eq. 22: of diversity, informativeness and sensitivity."""
Calibration = Callable[[GroupScores], GroupScores]


def calibrate(scores: GroupScores) -> GroupScores:
    """Φ of the network-wide z-score of each layer's robust z-scores, in (0, 1) (Eq. 12-16), as printed.

    Where more than half of a layer's units score the same, Eq. 13 divides by ε_norm: the other units are so far away
    that all other layers become one value.
    """
    return _network({name: robust_z(values, NORM) for name, values in scores.items()})


def calibrate_live(scores: GroupScores) -> GroupScores:
    """As `calibrate`, but units that score 0, as dead ones do, stay at 0 and are left out of the medians; ε_norm
    is not used. Where more than half of the other units score the same, the mean absolute deviation replaces the
    median one.
    """
    live = {name: values > 0 for name, values in scores.items()}
    calibrated = {name: torch.zeros_like(values) for name, values in scores.items()}
    robust = {name: _robust(values[live[name]]) for name, values in scores.items() if live[name].any()}
    for name, values in (_network(robust) if robust else {}).items():
        calibrated[name][live[name]] = values
    return calibrated


def _network(robust: GroupScores) -> GroupScores:
    everything = torch.cat(list(robust.values()))
    mean, deviation = everything.mean(), everything.std(correction=0)
    return {name: torch.special.ndtr((values - mean) / (deviation + NORM)) for name, values in robust.items()}


def _robust(scores: Tensor) -> Tensor:
    distance = scores - scores.quantile(0.5)
    # Either is the standard deviation where scores are normal.
    spread = 1.4826 * distance.abs().quantile(0.5) or math.sqrt(math.pi / 2) * distance.abs().mean()
    return distance / spread if spread > 0 else distance


def index(parts: Mapping[str, GroupScores], calibration: Calibration, exponents: Exponents) -> GroupScores:
    """(d + ε_f)^p (u + ε_f)^q (s + ε_f)^r of the calibrated components (Eq. 22)."""
    factors = [
        {name: (values + FLOOR) ** power for name, values in calibration(scores).items()}
        for scores, power in zip(parts.values(), exponents, strict=True)
    ]
    return {name: torch.stack([factor[name] for factor in factors]).prod(0) for name in factors[0]}


def importance(parts: Mapping[str, GroupScores]) -> GroupScores:
    """The index × the norm of the unit's weights, relative to the layer's mean (Eq. 36)."""
    indices, norms = parts.values()
    return {name: values * norms[name] for name, values in indices.items()}


@criterion("weight-norm", source=f"{PAPER}, Eq. 36, left", scope="global", limits="blind to data")
def weight_norm(evidence: Evidence) -> Tensor:
    """Frobenius norm of the weights that make the unit, divided by the group's mean."""
    return relative(evidence.combine([w.double().norm(dim=1) for w in evidence.weights(consumed=False)]))


def differentiation(p: float = 1, q: float = 1, r: float = 1) -> Composite:
    """The criterion "ndi" with other exponents of diversity (p), informativeness (q) and sensitivity (r) (Eq. 22).

    Raises:
        CriterionError: an exponent is not a number > 0.
    """
    for power in (p, q, r):
        if not isinstance(power, (int, float)) or not 0 < power < math.inf:
            raise CriterionError(f"the exponents of ndi must be numbers > 0, not {p!r}, {q!r} and {r!r}")
    return _composites(f"({p:g},{q:g},{r:g})", PARTS, calibrate_live, (p, q, r), LIMITS)[1]


def _composites(
    suffix: str, components: tuple[str, ...], calibration: Calibration, exponents: Exponents, limits: str
) -> tuple[Composite, Composite]:
    """The index and the importance."""
    core = Composite(
        name=f"ndi-index{suffix}",
        parts=tuple(CRITERIA[name] for name in components),
        join=partial(index, calibration=calibration, exponents=exponents),
        source=f"{PAPER}, Eq. 12-16 and 22",
        scope=Scope.GLOBAL,
        summary="Diverse × informative × sensitive.",
        limits=limits,
    )
    whole = Composite(
        name=f"ndi{suffix}",
        parts=(core, CRITERIA["weight-norm"]),
        join=importance,
        source=f"{PAPER}, Eq. 36",
        scope=Scope.GLOBAL,
        summary="The index × the norm of the weights that make the unit.",
        limits=limits,
    )
    return core, whole


for _criterion in (
    *_composites("", PARTS, calibrate_live, (1, 1, 1), LIMITS),
    *_composites("-literal", PRINTED, calibrate, (1, 1, 1), AS_PRINTED),
):
    add(_criterion)
