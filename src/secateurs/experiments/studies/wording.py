"""Describe comparisons of accuracies in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from secateurs.utils import format_mean

SPREAD = "Above or below: by more than the standard deviation of the difference over the seeds."
"""The definition of the words, for notes."""

Pair = tuple[Sequence[float], Sequence[float]]
"""Accuracies, and accuracies of a control, in [0, 1]: one of each per seed."""


def against(values: Sequence[float], reference: Sequence[float], control: str) -> str:
    """How far accuracies lie above or below those of a control with the same seeds, in points.

    Args:
        values, reference: accuracies in [0, 1], one per seed, and the accuracies of the control.
        control: name of the control.
    """
    gaps = _gaps((values, reference))
    if not any(gaps):
        return f"level with {control}"
    sign = 1 if mean(gaps) >= 0 else -1
    doubt = "" if side((values, reference)) else ", within the spread over seeds"
    distance = format_mean([sign * gap for gap in gaps], 1, 100)
    return f"{distance} points {'above' if sign > 0 else 'below'} {control}{doubt}"


def sides(pairs: Mapping[str, Pair], control: str) -> str:
    """List the places where accuracies lie above a control, below it, and within the spread over seeds.

    Args:
        pairs: accuracies by the name of the place.
        control: name of the control.
    """
    places: dict[str, list[str]] = {}
    for name, pair in pairs.items():
        places.setdefault(side(pair) or "within the spread of", []).append(name)
    texts = {word: "all" if len(names) == len(pairs) > 1 else _and(names) for word, names in places.items()}
    return ", ".join(f"{word} {control} with {names}" for word, names in texts.items())


def side(pair: Pair) -> str:
    """Return "above" or "below"; "" if the mean difference is less than the standard deviation of the differences."""
    gaps = _gaps(pair)
    if not any(gaps) or (len(gaps) > 1 and abs(mean(gaps)) < stdev(gaps)):
        return ""
    return "above" if mean(gaps) > 0 else "below"


def _gaps(pair: Pair) -> list[float]:
    return [one - other for one, other in zip(*pair, strict=True)]


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
