"""What a criterion is: a function that scores the units of one group, or a composition of such functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor, nn

from secateurs.budgets import Scope
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.request import OPERAND_PLACES, Request
from secateurs.criteria.weight_view import Entries
from secateurs.data import Loss
from secateurs.observe import Gradient, gradient_passes
from secateurs.structure import Structure
from secateurs.utils import Progress

Score = Callable[[Evidence], Tensor]

GroupScores = Mapping[str, Tensor]
"""Group name to one score per unit."""


@dataclass(frozen=True)
class Criterion:
    """A way to score units.

    Attributes:
        name: the name for users.
        score: gives one score per unit, [units], higher = keep.
        source: paper and equation.
        scope: how units compete by default; see `Scope`.
        requests: the statistics of activations that it needs.
        gradients: the gradients that it needs.
        entries: scores the single entries of a weight; None for criteria that cannot.
        entry_requests: the statistics that `entries` needs; None for those in `requests` at a weight's operand.
        entry_gradients: the gradients that `entries` needs; None for `gradients`.
        entry_rounds: the number of rounds in which `mask` removes entries by default.
        summary: one line about it.
        limits: what it cannot see or do, in a few words.
    """

    name: str
    score: Score
    source: str
    scope: Scope
    requests: tuple[Request, ...] = ()
    gradients: tuple[Gradient, ...] = ()
    entries: Entries | None = None
    entry_requests: tuple[Request, ...] | None = None
    entry_gradients: tuple[Gradient, ...] | None = None
    entry_rounds: int = 1
    summary: str = ""
    limits: str = ""

    @property
    def for_entries(self) -> Criterion:
        """The same criterion with only the needs of `entries`."""
        requests, gradients = self.entry_requests, self.entry_gradients
        if requests is None:
            requests = tuple(request for request in self.requests if request.place in OPERAND_PLACES)
        return replace(self, requests=requests, gradients=self.gradients if gradients is None else gradients)

    @property
    def needs(self) -> str:
        """What it uses: weights, activations, gradients, curvature."""
        uses = {
            "activations": bool(self.requests),
            "gradients": any(gradient.needs_data for gradient in self.gradients),
            "curvature": any(gradient.needs_curvature for gradient in self.gradients),
        }
        return " and ".join(what for what, used in uses.items() if used) or "weights"

    @property
    def leaves(self) -> tuple[Criterion, ...]:
        """Itself."""
        return (self,)

    @property
    def scores_entries(self) -> bool:
        """Whether it can score single weights."""
        return self.entries is not None

    @property
    def needs_data(self) -> bool:
        """Whether it uses data."""
        return bool(self.requests) or any(gradient.needs_data for gradient in self.gradients)

    @property
    def needs_loss(self) -> bool:
        """Whether it uses a loss, and so labelled data."""
        return any(gradient.needs_loss for gradient in self.gradients)


class Untuned(Protocol):
    """A composition whose weights are still to be chosen, by the loss on data that its parts are not scored on."""

    def tuned_criterion(
        self,
        parts: Mapping[str, GroupScores],
        model: nn.Module,
        structure: Structure,
        held_out: Iterable[Any],
        loss: Loss | None,
        progress: Progress,
    ) -> Composite:
        """The composition with its weights chosen.

        Args:
            parts: the scores of each part.
            model: evaluated, not changed.
            structure: of the model.
            held_out: labelled batches, other than those that the parts were scored on.
            loss: see `secateurs.score_many`.
            progress: wraps the iteration over the groups.
        """
        ...


@dataclass(frozen=True)
class Composite:
    """A criterion that combines the scores of others, for all groups at once.

    Attributes:
        name: the name for users. Composites of the same name, parts and descriptions are equal.
        parts: the criteria that it combines.
        join: makes the scores of all groups from those of each part, given by name.
        source, scope, summary, limits: as for `Criterion`.
        untuned: chooses the weights of the parts, if that is still to be done.
    """

    name: str
    parts: tuple[AnyCriterion, ...]
    join: Callable[[Mapping[str, GroupScores]], GroupScores] = field(compare=False)
    source: str
    scope: Scope
    summary: str = ""
    limits: str = ""
    untuned: Untuned | None = None

    @property
    def needs(self) -> str:
        """What its parts use."""
        return " and ".join(dict.fromkeys(what for part in self.parts for what in part.needs.split(" and ")))

    scores_entries = False

    @property
    def leaves(self) -> tuple[Criterion, ...]:
        """The criteria that it combines in the end."""
        return tuple(leaf for part in self.parts for leaf in part.leaves)

    @property
    def needs_data(self) -> bool:
        """Whether a part uses data, or the weights are chosen by data."""
        return self.untuned is not None or any(part.needs_data for part in self.parts)

    @property
    def needs_loss(self) -> bool:
        """Whether a part uses a loss, or the weights are chosen by one."""
        return self.untuned is not None or any(part.needs_loss for part in self.parts)


AnyCriterion = Criterion | Composite


def scoring_passes(criteria: Sequence[AnyCriterion]) -> int:
    """How often the data is read to score once by these criteria together."""
    leaves = [leaf for criterion in criteria for leaf in criterion.leaves]
    passes = any(leaf.requests for leaf in leaves) + gradient_passes(g for leaf in leaves for g in leaf.gradients)
    return passes + sum(isinstance(criterion, Composite) and criterion.untuned is not None for criterion in criteria)


def described(criterion: AnyCriterion) -> dict[str, Any]:
    """The description of a criterion, as plain data."""
    names = ("needs", "scope", "scores_entries", "summary", "limits", "source")
    description = {name: getattr(criterion, name) for name in names}
    return {**description, "scope": str(criterion.scope)}
