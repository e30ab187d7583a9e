"""NEXP, neural expressiveness: how differently a unit fires from one input to the next."""

from __future__ import annotations

import warnings
from typing import cast

import torch
from torch import Tensor

from secateurs.criteria.registry import Evidence, criterion
from secateurs.errors import CriterionError, DeadUnitsWarning
from secateurs.observe import FiringCounts, Request

FIRING = Request("after", FiringCounts)


@criterion("nexp", source="NEXP (arXiv 2512.06440), Eq. 10-11", comparable=True, requests=(FIRING,))
def nexp(evidence: Evidence) -> Tensor:
    """Mean Hamming distance between the unit's binarised activations of two inputs.

    The paper compares all pairs of N inputs. Of k inputs that make a position positive, k (N - k) pairs differ there,
    so the mean over pairs is 2 k (N - k) / (N (N - 1)), from counts alone. Averaged over positions, then over the
    places where the units are seen. Lies in [0, 1/2] for many inputs; 0 for units that are always on or always off.
    """
    scores = torch.stack([_expressiveness(cast(FiringCounts, s)) for s in evidence.statistics(FIRING)]).mean(0)
    if not scores.any():
        warnings.warn(
            f"every unit of group {evidence.group.name!r} is always on or always off, so nexp says nothing (dead "
            "non-linearities, or a batch norm far from zero); give more or other inputs, or keep the group",
            DeadUnitsWarning,
            stacklevel=2,
        )
    return scores


def _expressiveness(firing: FiringCounts) -> Tensor:
    n = firing.samples
    if n < 2 or firing.counts is None:
        raise CriterionError(f"nexp compares inputs with each other and needs at least 2 of them, not {n}")
    k = firing.counts.double()
    return (2 * k * (n - k) / (n * (n - 1))).mean(1)
