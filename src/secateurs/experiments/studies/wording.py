"""What sentences about accuracies share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from secateurs.utils import spread

SPREAD = "Above or below is by more than the standard deviation, over seeds, of the difference."
"""What a reader should know of these words."""

Pair = tuple[Sequence[float], Sequence[float]]
"""Accuracies and those of a control, in [0, 1], one of each per seed."""


def against(ours: Sequence[float], theirs: Sequence[float], control: str) -> str:
    """How far accuracies lie above or below those of a control with the same seeds, in points.

    Args:
        ours, theirs: in [0, 1], one per seed.
        control: its name.
    """
    gaps = _gaps((ours, theirs))
    if not any(gaps):
        return f"level with {control}"
    sign = 1 if mean(gaps) >= 0 else -1
    doubt = "" if side((ours, theirs)) else ", within the spread over seeds"
    how_far = spread([sign * gap for gap in gaps], 1, 100)
    return f"{how_far} points {'above' if sign > 0 else 'below'} {control}{doubt}"


def sides(pairs: Mapping[str, Pair], control: str) -> str:
    """Where accuracies lie above those of a control, where below, and where they cannot be told apart.

    Args:
        pairs: by the name of the place.
        control: its name.
    """
    places: dict[str, list[str]] = {}
    for name, pair in pairs.items():
        places.setdefault(side(pair) or "within the spread of", []).append(name)
    said = {its: "all" if len(names) == len(pairs) > 1 else _and(names) for its, names in places.items()}
    return ", ".join(f"{its} {control} with {names}" for its, names in said.items())


def side(pair: Pair) -> str:
    """Above or below; nothing if the mean difference is less than the standard deviation of the differences."""
    gaps = _gaps(pair)
    if not any(gaps) or (len(gaps) > 1 and abs(mean(gaps)) < stdev(gaps)):
        return ""
    return "above" if mean(gaps) > 0 else "below"


def _gaps(pair: Pair) -> list[float]:
    return [one - other for one, other in zip(*pair, strict=True)]


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
