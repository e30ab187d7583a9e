"""Parse the text of a criterion: a name or a weighted sum of names, optionally with the prefix "reversed-"."""

from __future__ import annotations

from secateurs.budgets import Scope
from secateurs.criteria.criterion import AnyCriterion, Composite
from secateurs.criteria.hybrid import Hybrid
from secateurs.criteria.registry import CRITERIA, REVERSED
from secateurs.errors import CriterionError

Named = str | AnyCriterion | Hybrid
"""The types that functions accept as a criterion."""


def parse_criterion(name: Named) -> AnyCriterion:
    """Look up or parse a criterion.

    `parse_criterion(criterion.name)` equals `criterion` for all registered criteria, hybrids and reversed criteria.

    Args:
        name: the name of a registered criterion; the text of a hybrid, such as "0.7*nexp+0.3*l1" or
            "rank(0.7*nexp+0.3*l1)"; one of these texts after the prefix "reversed-"; a criterion; or a `Hybrid`.

    Returns:
        The criterion.

    Raises:
        CriterionError: the criterion is unknown (the message lists all criteria), the hybrid is invalid, or the
            criterion cannot be reversed.

    Example:
        >>> from secateurs.criteria import parse_criterion
        >>> parse_criterion("reversed-l1").summary
        'The negated scores of l1, as a control.'
    """
    if isinstance(name, AnyCriterion):
        return name
    if isinstance(name, Hybrid):
        return name.criterion()
    if isinstance(name, str) and name.startswith(REVERSED):
        return _reversed(parse_criterion(name[len(REVERSED) :]))
    if isinstance(name, str) and "*" in name:
        return Hybrid.parse(name).criterion()
    if not isinstance(name, str) or name not in CRITERIA:
        raise CriterionError(f"unknown criterion {name!r}; choose from {', '.join(sorted(CRITERIA))}")
    return CRITERIA[name]


def _reversed(criterion: AnyCriterion) -> Composite:
    """The criterion with negated scores."""
    if isinstance(criterion, Composite) and criterion.untuned is not None:
        raise CriterionError(
            f"criterion {criterion.name!r} cannot be reversed, because the loss chooses the weights; give fixed weights"
        )
    return Composite(
        name=REVERSED + criterion.name,
        parts=(criterion,),
        join=lambda parts: {group: -scores for group, scores in parts[criterion.name].items()},
        source=criterion.source,
        # The scopes "per-cost" and "relative" accept no negative scores.
        scope=Scope.LOCAL if criterion.scope == Scope.LOCAL else Scope.GLOBAL,
        summary=f"The negated scores of {criterion.name}, as a control.",
    )
