"""Criteria that use activations: APoZ, mean activation, HRank, CHIP."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from secateurs.criteria.evidence import Evidence
from secateurs.criteria.registry import criterion
from secateurs.criteria.request import Request
from secateurs.errors import UnscorableError
from secateurs.observe import FiringCounts, MapRanks, MapStatistic, NuclearDrops, Totals

FIRING, TOTALS = Request("fired", FiringCounts), Request("after", Totals)
RANKS, DROPS = Request("after", MapRanks), Request("after", NuclearDrops)


@criterion(
    "apoz",
    source="Hu et al. 2016 (arXiv 1607.03250), Eq. 1, as 1 − APoZ",
    scope="global",
    requests=(FIRING,),
    limits="only for non-linearities with zero outputs, such as ReLU",
)
def apoz(evidence: Evidence) -> Tensor:
    """Share of samples and positions at which the unit is positive (one minus the average percentage of zeros)."""
    return evidence.combine([s.counts.double().sum((1, 2)) / s.samples.sum() for s in evidence.statistics(FIRING)])


@criterion(
    "mean-activation",
    source="Molchanov et al. 2017 (arXiv 1611.06440), section 2.2",
    scope="local",
    requests=(TOTALS,),
    limits="a constant unit scores high",
)
def mean_activation(evidence: Evidence) -> Tensor:
    """Mean magnitude of the unit's activations."""
    return evidence.combine([s.mean_magnitude for s in evidence.statistics(TOTALS)])


@criterion(
    "hrank",
    source="Lin et al. 2020 (arXiv 2002.10179), Eq. 4",
    scope="local",
    requests=(RANKS,),
    limits="needs maps with rows and columns; slow",
)
def hrank(evidence: Evidence) -> Tensor:
    """Mean rank of the unit's feature maps."""
    return evidence.combine(_means(evidence, RANKS, "maps with rows and columns"))


@criterion(
    "chip",
    source="Sui et al. 2021 (arXiv 2110.13981), Eq. 3",
    scope="local",
    requests=(DROPS,),
    limits="needs several positions; very slow for wide layers",
)
def chip(evidence: Evidence) -> Tensor:
    """Mean decrease of the nuclear norm of all feature maps when the map of this unit is set to zero."""
    drops = _means(evidence, DROPS, "several positions")
    return evidence.combine([drop.clamp(min=0) for drop in drops])  # only rounding makes a drop negative


def _means(evidence: Evidence, request: Request, requirement: str) -> list[Tensor]:
    """Means over samples [units], for each place where the units have feature maps."""
    places = [s.values for s in cast(list[MapStatistic], evidence.statistics(request)) if s.values is not None]
    if not places:
        raise UnscorableError(f"the units do not have {requirement}")
    return [values.double().mean(0) for values in places]
