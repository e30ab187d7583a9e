"""What sentences about accuracies share."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from secateurs.tables import spread


def against(ours: Sequence[float], theirs: Sequence[float], control: str) -> str:
    """How far accuracies lie above or below those of a control with the same seeds, in points.

    Args:
        ours, theirs: in [0, 1], one per seed.
        control: its name.
    """
    gaps = [one - other for one, other in zip(ours, theirs, strict=True)]
    if not any(gaps):
        return f"level with {control}"
    side, sign = ("above", 1) if mean(gaps) >= 0 else ("below", -1)
    doubt = ", within the spread over seeds" if len(gaps) > 1 and abs(mean(gaps)) < stdev(gaps) else ""
    return f"{spread([sign * gap for gap in gaps], 1, 100)} points {side} {control}{doubt}"
