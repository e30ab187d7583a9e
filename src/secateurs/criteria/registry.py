"""The table of criteria, and the decorator that adds one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from secateurs.budgets import Scope
from secateurs.criteria.criterion import AnyCriterion, Criterion, Score
from secateurs.criteria.request import OPERAND_PLACES, PLACES, Request
from secateurs.criteria.weight_view import Entries
from secateurs.errors import BudgetError, CriterionError
from secateurs.observe import Gradient, find_gradient

CRITERIA: dict[str, AnyCriterion] = {}

REVERSED = "reversed-"
"""Before a name, this means the opposite order: a control that shows whether a criterion's order matters at all."""

RESERVED = "*+@"
"""Characters with a meaning in the text of a hybrid."""


def add(criterion: AnyCriterion) -> None:
    """Make a criterion available by its name.

    Raises:
        CriterionError: the name is taken or cannot be used, or the criterion needs something that does not exist.
    """
    name = criterion.name
    if name in CRITERIA:
        raise CriterionError(f"there is a criterion {name!r} already ({CRITERIA[name].summary}); give another name")
    if not name or name.startswith(REVERSED) or set(name) & set(RESERVED):
        raise CriterionError(
            f"a criterion cannot be called {name!r}: names must not be empty, begin with {REVERSED!r}, or hold one of "
            f"{RESERVED!r}, which have a meaning in hybrids"
        )
    for part in criterion.leaves:
        _check_requests(part)
    CRITERIA[name] = criterion


def _check_requests(criterion: Criterion) -> None:
    for request in criterion.requests:
        if request.place not in PLACES:
            places = ", ".join(PLACES)
            raise CriterionError(f"criterion {criterion.name!r}: there is no place {request.place!r}, only {places}")
    for request in criterion.entry_requests or ():
        if request.place not in OPERAND_PLACES:
            places = " or ".join(map(repr, OPERAND_PLACES))
            raise CriterionError(
                f"criterion {criterion.name!r}: entries can be scored by statistics at {places}, not at "
                f"{request.place!r}"
            )


@contextmanager
def temporary_criteria() -> Iterator[None]:
    """Undo every registration of a criterion made inside the block when it ends.

    Example:
        >>> from secateurs.criteria import temporary_criteria
        >>> with temporary_criteria():
        ...     @sc.criterion("constant", source="this example")
        ...     def constant(evidence):
        ...         "The same score for all units."
        ...         return torch.ones(evidence.group.size)
    """
    before = dict(CRITERIA)
    try:
        yield
    finally:
        CRITERIA.clear()
        CRITERIA.update(before)


def criterion(
    name: str,
    *,
    source: str,
    scope: str | Scope = Scope.LOCAL,
    requests: tuple[Request, ...] = (),
    gradients: tuple[str | Gradient, ...] = (),
    entries: Entries | None = None,
    entry_requests: tuple[Request, ...] | None = None,
    entry_gradients: tuple[str | Gradient, ...] | None = None,
    entry_rounds: int = 1,
    limits: str = "",
) -> Callable[[Score], Score]:
    """Register a function as a criterion that can be used by name.

    The function takes the `Evidence` of one group and returns one score per unit [units], higher = keep. The first
    line of its docstring is the summary of the criterion.

    Args:
        name: the name for users.
        source: paper and equation.
        scope: how units compete by default: "local" within their group; or those of the whole model, if scores mean
            the same in every layer ("global"), are the loss that a unit's removal causes ("per-cost"), or compare
            relative to the mean of the group ("relative"); see `secateurs.allocate`.
        requests: the statistics of activations that the function uses.
        gradients: the gradients that it uses: names from `secateurs.observe.GRADIENTS`, or objects of your own.
        entries: scores the single entries of a weight, for `mask`: takes a `Weight` and returns scores in its shape.
        entry_requests: the statistics that `entries` uses; by default those of `requests` that describe what a weight
            is multiplied with.
        entry_gradients: the gradients that `entries` uses; by default `gradients`.
        entry_rounds: the number of rounds in which `mask` removes entries by default.
        limits: what the criterion cannot see or do, in a few words.

    Returns:
        A decorator, which returns the function unchanged.

    Raises:
        CriterionError: the name is taken or cannot be used, the function has no docstring, or something that it needs
            does not exist.

    Example:
        >>> from secateurs.criteria import temporary_criteria
        >>> with temporary_criteria():  # undone at the end of the block
        ...     @sc.criterion("loudest", source="this example")
        ...     def loudest(evidence):
        ...         "Largest single weight."
        ...         return evidence.combine([weight.abs().amax(1) for weight in evidence.weights()])
        ...     result = sc.prune(model, data, criterion="loudest", budget="keep:0.5")
        >>> {group: len(scores) for group, scores in result.scores.items()}
        {'0': 8, '3': 12, '7': 16}
    """

    def register(score: Score) -> Score:
        if not score.__doc__:
            raise CriterionError(f"criterion {name!r} needs a docstring, whose first line is its summary")
        add(
            Criterion(
                name=name,
                score=score,
                source=source,
                scope=_scope(name, scope),
                requests=requests,
                gradients=_found(name, gradients),
                entries=entries,
                entry_requests=entry_requests,
                entry_gradients=None if entry_gradients is None else _found(name, entry_gradients),
                entry_rounds=entry_rounds,
                summary=score.__doc__.strip().splitlines()[0],
                limits=limits,
            )
        )
        return score

    return register


def _scope(name: str, scope: str | Scope) -> Scope:
    try:
        return Scope.parse(scope)
    except BudgetError as error:
        raise CriterionError(f"criterion {name!r}: {error}") from None


def _found(name: str, gradients: tuple[str | Gradient, ...]) -> tuple[Gradient, ...]:
    try:
        return tuple(map(find_gradient, gradients))
    except CriterionError as error:
        raise CriterionError(f"criterion {name!r}: {error}") from None
