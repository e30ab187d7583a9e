"""The text of a hybrid: write a weighted sum of criteria as text, and read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from secateurs.criteria.normalizers import MEAN
from secateurs.errors import CriterionError

AUTO_WEIGHT = "auto"
"""The text in place of weights that are chosen by the loss."""


class HybridFields(NamedTuple):
    """The fields of a `Hybrid`, as read from a text; see `Hybrid` for the attributes."""

    weights: dict[str, float] | list[str]
    normalize: str
    alpha: str | None
    of_group: dict[str, dict[str, float]] | None


def read_hybrid(text: str) -> HybridFields:
    """Read the text of a hybrid.

    Args:
        text: such as "0.7*nexp+0.3*l1", "rank(0.7*nexp+0.3*l1)" or "auto*l1+auto*nexp". An "@" and a JSON object with
            the weights of single groups may follow.

    Returns:
        The fields of the hybrid; names and values are not checked.

    Raises:
        CriterionError: the text is not a weighted sum of criteria.
    """
    formula, _, json_of_groups = text.partition("@")
    match = re.fullmatch(r"\s*([a-z-]+)\s*\((.*)\)\s*", formula)
    normalize, weighted_sum = match.groups() if match else (MEAN, formula)
    terms = [[part.strip() for part in term.split("*")] for term in weighted_sum.split("+")]
    try:
        of_group = json.loads(json_of_groups) if json_of_groups else None
        if all(len(term) == 2 and term[0] == AUTO_WEIGHT for term in terms):
            return HybridFields([name for _, name in terms], normalize, AUTO_WEIGHT, of_group)
        weights = {name: float(weight) for weight, name in terms}
    except ValueError:
        raise CriterionError(f"{text!r} is not a sum of weighted criteria such as 0.7*nexp+0.3*l1") from None
    return HybridFields(weights, normalize, None, of_group)


def write_hybrid(
    weights: Mapping[str, float | str], normalize: str, of_group: Mapping[str, Mapping[str, float]] | None
) -> str:
    """Write a hybrid as text.

    Args:
        weights: criterion name to weight, or to `AUTO_WEIGHT`.
        normalize: the name of the normaliser.
        of_group: group name to weights, for groups with other weights.

    Returns:
        A text from which `read_hybrid` reads the same values.
    """
    terms = (f"{w if isinstance(w, str) else _number(w)}*{name}" for name, w in weights.items())
    weighted_sum = "+".join(terms)
    formula = weighted_sum if normalize == MEAN else f"{normalize}({weighted_sum})"
    return f"{formula}@{json.dumps(of_group, sort_keys=True)}" if of_group else formula


def _number(weight: float) -> str:
    """The shortest text that reads as the same number; without a plus sign, which separates the terms."""
    text = f"{weight:g}"
    return (text if float(text) == weight else repr(float(weight))).replace("e+", "e")
