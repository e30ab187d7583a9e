"""How far two scorings of the same units agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean

from scipy.stats import spearmanr
from torch import Tensor

from secateurs.criteria import GroupScores


@dataclass(frozen=True)
class Agreement:
    """How far two scorings of a model agree: means over its groups.

    Attributes:
        cosine, spearman, overlap: see the functions.
        cosine_by_chance, overlap_by_chance: what they would be on average if one had its scores in random order.
    """

    cosine: float
    cosine_by_chance: float
    spearman: float
    overlap: float
    overlap_by_chance: float
    spearman_by_chance = 0.0


def agreement(one: GroupScores, other: GroupScores, keep: float = 0.5) -> Agreement:
    """How far two scorings agree on the groups that both score.

    Args:
        one, other: group name to scores [units].
        keep: at most this fraction of every group's units is kept.
    """
    pairs = [(one[name], other[name]) for name in one if name in other]
    return Agreement(
        cosine=mean(cosine(*pair) for pair in pairs),
        cosine_by_chance=mean(cosine_by_chance(*pair) for pair in pairs),
        spearman=mean(correlation(*pair) for pair in pairs),
        overlap=mean(overlap(*pair, keep) for pair in pairs),
        overlap_by_chance=mean(_removed(len(its), keep) / len(its) for its, _ in pairs),
    )


def cosine(one: Tensor, other: Tensor) -> float:
    """The cosine of the angle between two vectors of scores [units]; 0 where one of them is zero."""
    norms = float(one.norm() * other.norm())
    return float(one @ other) / norms if norms else 0.0


def cosine_by_chance(one: Tensor, other: Tensor) -> float:
    """The mean cosine over all orders of one of them: what is due to scores of one sign alone."""
    norms = float(one.norm() * other.norm())
    return float(one.sum() * other.sum()) / len(one) / norms if norms else 0.0


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
    removed = _removed(len(one), keep)
    return float(_chances(one, removed) @ _chances(other, removed)) / removed


def _removed(units: int, keep: float) -> int:
    return units - min(max(math.floor(keep * units), 1), units - 1)


def _chances(scores: Tensor, removed: int) -> Tensor:
    """For each unit, how probable it is that it is among the lowest."""
    threshold = scores.sort().values[removed - 1]
    below, level = scores < threshold, scores == threshold
    return below.double() + level.double() * (removed - int(below.sum())) / int(level.sum())
