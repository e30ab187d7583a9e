"""The table of criteria: functions that score the units of one group, and compositions of them."""

from __future__ import annotations

from collections.abc import Callable

from secateurs.budgets import Scope
from secateurs.criteria.criterion import AnyCriterion, Criterion, Score
from secateurs.criteria.weight_view import PLACES, Entries, Request
from secateurs.errors import CriterionError
from secateurs.observe import KINDS

CRITERIA: dict[str, AnyCriterion] = {}


def add(criterion: AnyCriterion) -> None:
    """Make a criterion one that can be used by name.

    Raises:
        CriterionError: the name is taken, there is no such scope, or it needs something that does not exist.
    """
    if criterion.name in CRITERIA:
        raise CriterionError(f"there is a criterion {criterion.name!r} already ({CRITERIA[criterion.name].summary})")
    if criterion.scope not in list(Scope):
        raise CriterionError(f"criterion {criterion.name!r}: scope {criterion.scope!r} is none of {', '.join(Scope)}")
    for part in criterion.leaves:
        for place in {request.place for request in part.requests} - set(PLACES):
            raise CriterionError(f"criterion {part.name!r}: there is no place {place!r}, only {', '.join(PLACES)}")
        for kind in set(part.gradients) - set(KINDS):
            raise CriterionError(f"criterion {part.name!r}: there is no gradient {kind!r}, only {', '.join(KINDS)}")
    CRITERIA[criterion.name] = criterion


def criterion(
    name: str,
    *,
    source: str,
    scope: str = "local",
    requests: tuple[Request, ...] = (),
    gradients: tuple[str, ...] = (),
    entries: Entries | None = None,
    entry_gradients: tuple[str, ...] | None = None,
    limits: str = "",
) -> Callable[[Score], Score]:
    """Make a function a criterion that can be used by name; its docstring's first line is its summary.

    Args:
        name: what users will call it.
        source: paper and equation.
        scope: how its units compete unless somebody says otherwise: "local" within their group; or those of the whole
            model, if scores mean the same everywhere ("global"), are what is lost with a unit ("per-cost"), or mean
            something beside those of their group alone ("relative"); see `secateurs.allocate`.
        requests: the statistics of activations that it needs.
        gradients: the gradients that it needs, of `secateurs.observe.KINDS`.
        entries: scores the single entries of a weight (see `mask`).
        entry_gradients: the gradients that `entries` needs, where they are others.
        limits: what it cannot see or do.

    Raises:
        CriterionError: the name is taken, there is no docstring, or something that it needs does not exist.

    Example:
        >>> @criterion("loudest", source="this page")
        ... def loudest(evidence):
        ...     "Largest single weight."
        ...     return evidence.combine([w.abs().amax(1) for w in evidence.weights()])
    """

    def register(score: Score) -> Score:
        if not score.__doc__:
            raise CriterionError(f"criterion {name!r} needs a docstring, whose first line is its summary")
        summary = score.__doc__.strip().splitlines()[0]
        needs = (requests, gradients, entries, entry_gradients)
        add(Criterion(name, score, source, scope, *needs, summary, limits))
        return score

    return register
