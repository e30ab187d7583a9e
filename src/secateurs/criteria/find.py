"""From what users write to a criterion: a name, a sum of names, a criterion, a hybrid."""

from __future__ import annotations

from secateurs.criteria.hybrid import Hybrid
from secateurs.criteria.registry import CRITERIA, AnyCriterion
from secateurs.errors import CriterionError

Named = str | AnyCriterion | Hybrid


def find(name: Named) -> AnyCriterion:
    """The criterion of that name.

    Args:
        name: of a criterion; a sum of weighted names such as "0.7*nexp+0.3*l1"; a criterion; or a hybrid.

    Raises:
        CriterionError: there is none; the message lists those there are.
    """
    if isinstance(name, AnyCriterion):
        return name
    if isinstance(name, Hybrid):
        return name.criterion()
    if isinstance(name, str) and "*" in name:
        return Hybrid.parse(name).criterion()
    if not isinstance(name, str) or name not in CRITERIA:
        raise CriterionError(f"unknown criterion {name!r}; there are: {', '.join(sorted(CRITERIA))}")
    return CRITERIA[name]
