"""The registry of criteria, and the decorator that adds a criterion."""

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
"""All registered criteria, by name."""

REVERSED = "reversed-"
"""The prefix of the name of a criterion with negated scores, which serves as a control for the criterion."""

RESERVED = "*+@"
"""The operators in the text of a hybrid, which names of criteria must not contain."""


def add(criterion: AnyCriterion) -> None:
    """Register a criterion by name.

    Raises:
        CriterionError: the name is taken or invalid, or the place of a request is invalid.
    """
    name = criterion.name
    if name in CRITERIA:
        raise CriterionError(f"a criterion {name!r} exists already ({CRITERIA[name].summary}); choose another name")
    if not name or name.startswith(REVERSED) or set(name) & set(RESERVED):
        raise CriterionError(
            f"invalid name of a criterion: {name!r}; a name must not be empty, must not begin with {REVERSED!r} and "
            f"must not contain an operator of hybrids ({RESERVED!r})"
        )
    for part in criterion.leaves:
        _check_requests(part)
    CRITERIA[name] = criterion


def _check_requests(criterion: Criterion) -> None:
    """Check that the places in the requests of a criterion exist and that entries can be scored there."""
    for request in criterion.requests:
        if request.place not in PLACES:
            places = ", ".join(PLACES)
            raise CriterionError(
                f"criterion {criterion.name!r} has a request for the unknown place {request.place!r}; choose one of "
                f"{places}"
            )
    for request in criterion.entry_requests or ():
        if request.place not in OPERAND_PLACES:
            places = " or ".join(map(repr, OPERAND_PLACES))
            raise CriterionError(
                f"criterion {criterion.name!r} requests a statistic at {request.place!r} for scores of entries; choose "
                f"the place {places}"
            )


@contextmanager
def temporary_criteria() -> Iterator[None]:
    """Create a context at whose end all criteria that were registered inside it are removed again.

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
    line of the docstring becomes the summary of the criterion.

    Args:
        name: the name for users.
        source: paper and equation.
        scope: the default scope, which defines the units that compete with each other. "local" compares the units of
            one group. The other scopes compare the units of the whole model: "global" is for scores that have the same
            meaning in every layer, "per-cost" for scores that estimate how much the loss increases when a unit is
            removed, and "relative" for scores that are comparable after division by the mean of the group. See
            `secateurs.allocate`.
        requests: the statistics of activations that the function uses.
        gradients: the gradients that the function uses: names from `secateurs.observe.GRADIENTS`, or `Gradient`
            objects.
        entries: scores single entries, for `mask`: maps a `Weight` to one score per entry, in the shape of the weight.
        entry_requests: the statistics that `entries` uses; by default all `requests` at the places "operand" and
            "maps".
        entry_gradients: the gradients that `entries` uses; by default `gradients`.
        entry_rounds: the number of rounds in which `mask` removes entries by default.
        limits: the limitations of the criterion, in a few words.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        CriterionError: the name is taken or invalid, the function has no docstring, the scope or a gradient is unknown,
            or the place of a request is invalid.

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
            raise CriterionError(f"criterion {name!r} needs a docstring; the first line becomes the summary")
        add(
            Criterion(
                name=name,
                score=score,
                source=source,
                scope=_scope(name, scope),
                requests=requests,
                gradients=_known_gradients(name, gradients),
                entries=entries,
                entry_requests=entry_requests,
                entry_gradients=None if entry_gradients is None else _known_gradients(name, entry_gradients),
                entry_rounds=entry_rounds,
                summary=score.__doc__.strip().splitlines()[0],
                limits=limits,
            )
        )
        return score

    return register


def _scope(name: str, scope: str | Scope) -> Scope:
    """Look up a scope; the error message contains the name of the criterion."""
    try:
        return Scope.parse(scope)
    except BudgetError as error:
        raise CriterionError(f"criterion {name!r}: {error}") from None


def _known_gradients(name: str, gradients: tuple[str | Gradient, ...]) -> tuple[Gradient, ...]:
    """Look up gradients; the error message contains the name of the criterion."""
    try:
        return tuple(map(find_gradient, gradients))
    except CriterionError as error:
        raise CriterionError(f"criterion {name!r}: {error}") from None
