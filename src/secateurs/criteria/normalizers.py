"""Normalisers: the ways to make the scores of different criteria comparable within a group."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

MEAN = "mean"


def divided_by_mean(scores: Tensor) -> Tensor:
    """Divide the scores [units] by their mean magnitude, unless it is zero."""
    mean = scores.abs().mean()
    return scores / mean if mean > 0 else scores


def relative_ranks(scores: Tensor) -> Tensor:
    """Replace the scores [units] by ranks, divided by the number of units, in (0, 1); equal scores share a rank."""
    _, position, counts = scores.unique(return_inverse=True, return_counts=True)
    return ((counts.cumsum(0) - counts / 2) / len(scores))[position].to(scores)


def robust_z(scores: Tensor, floor: float = 1e-12) -> Tensor:
    """Distance from the median in units of 1.4826 × the median absolute deviation (NDI, Eq. 12-13).

    Args:
        scores: [units].
        floor: added to the denominator.

    Returns:
        [units].
    """
    median = scores.quantile(0.5)
    deviation = (scores - median).abs().quantile(0.5)
    return (scores - median) / (1.4826 * deviation + floor)


NORMALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    MEAN: divided_by_mean,
    "rank": relative_ranks,
    "robust-z": robust_z,
}
"""Name to function from the scores [units] of one group to normalised scores [units]."""
