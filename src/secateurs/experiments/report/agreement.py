"""Which units the criteria agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np

from secateurs.experiments.report.outcome import Outcome, Row


def overlap(one: Outcome, other: Outcome, units: Mapping[str, int]) -> tuple[float, float] | None:
    """How much two sets of removed units overlap: the size of what they share over the size of both together (Jaccard).

    Args:
        one, other: pruned models.
        units: per group, its size.

    Returns:
        The overlap, and what it would be if both had drawn as many units from each group at random (the expected
        number of shared units over the rest); nothing where neither removed a unit.
    """
    shared = total = expected = 0.0
    for group, size in units.items():
        first, second = (set(range(size)) - set(its.keep.get(group, range(size))) for its in (one, other))
        shared += len(first & second)
        total += len(first) + len(second)
        expected += len(first) * len(second) / size
    return (shared / (total - shared), expected / (total - expected)) if total else None


def agreement(rows: Sequence[Row], units: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps of the rows of one budget with each other, and what chance would give; see `overlap`.

    Two criteria are compared under the same seeds, a criterion with itself under different ones.

    Returns:
        Two arrays [rows, rows], mean over the seeds; nan where there is nothing to compare.
    """
    found = np.full((2, len(rows), len(rows)), np.nan)
    for i, row in enumerate(rows):
        for j, other in enumerate(rows):
            pairs = [(a, b) for a in row.outcomes for b in other.outcomes if (a.seed == b.seed) == (i != j)]
            values = [its for a, b in pairs if (its := overlap(a, b, units))]
            if values:
                found[:, i, j] = [mean(column) for column in zip(*values, strict=True)]
    return found[0], found[1]
