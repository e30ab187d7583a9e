"""Measures of the agreement of two scorings of the same units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean

from torch import Tensor

from secateurs.criteria import GroupScores
from secateurs.utils import require


@dataclass(frozen=True)
class Agreement:
    """The agreement of two scorings of a model: means over the groups.

    Attributes:
        cosine, spearman, overlap: as computed by `cosine`, `correlation` and `overlap`.
        cosine_by_chance, overlap_by_chance: the expected value if one scoring were in random order.
    """

    cosine: float
    cosine_by_chance: float
    spearman: float
    overlap: float
    overlap_by_chance: float
    spearman_by_chance = 0.0


def agreement(one: GroupScores, other: GroupScores, keep: float = 0.5) -> Agreement:
    """Measure the agreement of two scorings on the groups that both score.

    Args:
        one, other: scores [units] by group name.
        keep: at most this fraction of every group's units is kept.
    """
    pairs = [(one[name], other[name]) for name in one if name in other]
    return Agreement(
        cosine=mean(cosine(*pair) for pair in pairs),
        cosine_by_chance=mean(cosine_by_chance(*pair) for pair in pairs),
        spearman=mean(correlation(*pair) for pair in pairs),
        overlap=mean(overlap(*pair, keep) for pair in pairs),
        overlap_by_chance=mean(_removed(len(scores), keep) / len(scores) for scores, _ in pairs),
    )


def cosine(one: Tensor, other: Tensor) -> float:
    """The cosine of the angle between two vectors of scores [units]; 0 where one of them is zero."""
    norms = float(one.norm() * other.norm())
    return float(one @ other) / norms if norms else 0.0


def cosine_by_chance(one: Tensor, other: Tensor) -> float:
    """The mean cosine over all orders of one of the vectors, which is high for scores of one sign."""
    norms = float(one.norm() * other.norm())
    return float(one.sum() * other.sum()) / len(one) / norms if norms else 0.0


def correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's rank correlation; 0 if one scoring gives all units an equal score.

    Args:
        one, other: scores [units].
    """
    require("scipy", "cli")
    from scipy.stats import spearmanr

    if one.unique().numel() == 1 or other.unique().numel() == 1:
        return 0.0
    return float(spearmanr(one, other)[0])  # type: ignore[arg-type] (scipy's result is a tuple)


def overlap(one: Tensor, other: Tensor, keep: float = 0.5) -> float:
    """Of the units that one scoring removes, the share that the other removes too.

    Ties at the threshold are broken at random, independently for both scorings; the result is the expected share. For
    two independent orders it equals the share of removed units.

    Args:
        one, other: scores [units], higher = keep.
        keep: at most this fraction of the units is kept, at least one and not all.
    """
    removed = _removed(len(one), keep)
    return float(_chances(one, removed) @ _chances(other, removed)) / removed


def _removed(units: int, keep: float) -> int:
    return units - min(max(math.floor(keep * units), 1), units - 1)


def _chances(scores: Tensor, removed: int) -> Tensor:
    """For each unit, the probability that it is among the lowest."""
    threshold = scores.sort().values[removed - 1]
    below, tied = scores < threshold, scores == threshold
    return below.double() + tied.double() * (removed - int(below.sum())) / int(tied.sum())
