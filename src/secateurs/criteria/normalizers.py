"""Normalisers: functions that make the scores of different criteria comparable within a group."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

MEAN = "mean"
"""The name of the default normaliser, `divided_by_mean`."""


def divided_by_mean(scores: Tensor) -> Tensor:
    """Divide scores [units] by the mean of the absolute scores; if the mean is zero, return the scores unchanged."""
    mean = scores.abs().mean()
    return scores / mean if mean > 0 else scores


def relative_ranks(scores: Tensor) -> Tensor:
    """Replace scores [units] by ranks divided by the number of units, in (0, 1); equal scores share the mean rank."""
    _, position, counts = scores.unique(return_inverse=True, return_counts=True)
    return ((counts.cumsum(0) - counts / 2) / len(scores))[position].to(scores)


def robust_z(scores: Tensor, floor: float = 1e-12) -> Tensor:
    """Subtract the median and divide by 1.4826 × the median absolute deviation (NDI, Eq. 12-13).

    Args:
        scores: the scores of one group, [units].
        floor: added to the denominator, which may be zero otherwise.

    Returns:
        The robust z-scores, [units].
    """
    median = scores.quantile(0.5)
    deviation = (scores - median).abs().quantile(0.5)
    return (scores - median) / (1.4826 * deviation + floor)


NORMALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    MEAN: divided_by_mean,
    "rank": relative_ranks,
    "robust-z": robust_z,
}
"""The normalisers by name. Each maps the scores of one group, [units], to normalised scores, [units]."""
