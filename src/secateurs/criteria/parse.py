"""From the text that users write to a criterion: a name, a sum of names, the reverse of either."""

from __future__ import annotations

from secateurs.budgets import Scope
from secateurs.criteria.criterion import AnyCriterion, Composite
from secateurs.criteria.hybrid import Hybrid
from secateurs.criteria.registry import CRITERIA, REVERSED
from secateurs.errors import CriterionError

Named = str | AnyCriterion | Hybrid
"""What users give where a criterion is asked for."""


def parse_criterion(name: Named) -> AnyCriterion:
    """The criterion of that name; `parse_criterion(criterion.name)` equals every criterion that has a text.

    Args:
        name: of a criterion; a hybrid's text, such as "0.7*nexp+0.3*l1" or "rank(0.7*nexp+0.3*l1)"; either with
            "reversed-" before it; a criterion; or a hybrid.

    Raises:
        CriterionError: there is no such criterion; the message lists all.
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
        raise CriterionError(f"unknown criterion {name!r}; there are: {', '.join(sorted(CRITERIA))}")
    return CRITERIA[name]


def _reversed(criterion: AnyCriterion) -> Composite:
    if isinstance(criterion, Composite) and criterion.untuned is not None:
        raise CriterionError(
            f"{criterion.name!r} chooses its weights by the loss, so that it cannot be reversed; give it weights"
        )
    return Composite(
        name=REVERSED + criterion.name,
        parts=(criterion,),
        join=lambda parts: {group: -scores for group, scores in parts[criterion.name].items()},
        source=criterion.source,
        # The other scopes take no scores below 0.
        scope=Scope.LOCAL if criterion.scope == Scope.LOCAL else Scope.GLOBAL,
        summary=f"The opposite of {criterion.name}: a control.",
    )
