"""Agreement of criteria on the units to remove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np

from secateurs.experiments.report.outcome import Outcome, Row


def overlap(one: Outcome, other: Outcome, units: Mapping[str, int]) -> tuple[float, float] | None:
    """Overlap of two sets of removed units: the size of the intersection over the size of the union (Jaccard).

    Args:
        one, other: pruned models.
        units: size of each group.

    Returns:
        The overlap, and the overlap by chance: if both drew equally many units from each group at random (the expected
        size of the intersection over the remaining size of the union); None if neither removed a unit.
    """
    shared = total = expected = 0.0
    for group, size in units.items():
        first, second = (set(range(size)) - set(o.keep.get(group, range(size))) for o in (one, other))
        shared += len(first & second)
        total += len(first) + len(second)
        expected += len(first) * len(second) / size
    return (shared / (total - shared), expected / (total - expected)) if total else None


def agreement(rows: Sequence[Row], units: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps of all pairs of rows of one budget, and the overlaps by chance; see `overlap`.

    Two criteria are compared with equal seeds, a criterion with itself between different seeds.

    Returns:
        Two arrays [rows, rows], mean over the seeds; nan if there is nothing to compare.
    """
    overlaps = np.full((2, len(rows), len(rows)), np.nan)
    for i, row in enumerate(rows):
        for j, other in enumerate(rows):
            pairs = [(a, b) for a in row.outcomes for b in other.outcomes if (a.seed == b.seed) == (i != j)]
            values = [value for a, b in pairs if (value := overlap(a, b, units))]
            if values:
                overlaps[:, i, j] = [mean(column) for column in zip(*values, strict=True)]
    return overlaps[0], overlaps[1]
