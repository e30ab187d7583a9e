"""From what users write to a criterion: a name, a sum of names, a criterion, a hybrid."""

from __future__ import annotations

from secateurs.criteria.criterion import AnyCriterion, Composite
from secateurs.criteria.hybrid import Hybrid
from secateurs.criteria.registry import CRITERIA
from secateurs.errors import CriterionError

Named = str | AnyCriterion | Hybrid

REVERSED = "reversed-"
"""Before a name, the opposite order: the control that tells whether a criterion's order matters at all."""


def parse_criterion(name: Named) -> AnyCriterion:
    """The criterion of that name.

    Args:
        name: of a criterion; a sum of weighted names such as "0.7*nexp+0.3*l1"; either with "reversed-" before it; a
            criterion; or a hybrid.

    Raises:
        CriterionError: there is none; the message lists those there are.
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
        raise CriterionError(f"{criterion.name!r} finds its weights by the loss; reverse one with weights of its own")
    return Composite(
        name=REVERSED + criterion.name,
        parts=(criterion,),
        join=lambda parts: {group: -scores for group, scores in parts[criterion.name].items()},
        source=criterion.source,
        scope="local" if criterion.scope == "local" else "global",  # the others take no scores below 0
        summary=f"The opposite of {criterion.name}: a control.",
    )
