"""How far two scorings of the same units agree."""

from __future__ import annotations

import math

from scipy.stats import spearmanr
from torch import Tensor


def correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's rank correlation; 0 where one of them gives all units the same score, and so no order.

    Args:
        one, other: scores [units].
    """
    if one.unique().numel() == 1 or other.unique().numel() == 1:
        return 0.0
    return float(spearmanr(one, other)[0])  # type: ignore[arg-type] (scipy's result is a tuple)


def overlap(one: Tensor, other: Tensor, keep: float = 0.5) -> float:
    """The share of the units that one scoring removes that the other removes too.

    Units that are level at the threshold are drawn at random, separately for both: the share is what is expected of
    that. Two orders that have nothing to do with each other share as much as is removed.

    Args:
        one, other: scores [units], higher = keep.
        keep: at most this fraction of the units is kept, at least one and not all.
    """
    removed = len(one) - min(max(math.floor(keep * len(one)), 1), len(one) - 1)
    return float(_chances(one, removed) @ _chances(other, removed)) / removed


def _chances(scores: Tensor, removed: int) -> Tensor:
    """For each unit, how probable it is that it is among the lowest."""
    threshold = scores.sort().values[removed - 1]
    below, level = scores < threshold, scores == threshold
    return below.double() + level.double() * (removed - int(below.sum())) / int(level.sum())
