"""Criteria: functions that score the units of one group, and combinations of several criteria."""

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
"""Maps the evidence of one group to one score per unit, [units], higher = keep."""

GroupScores = Mapping[str, Tensor]
"""Group name to one score per unit, [units]."""


@dataclass(frozen=True)
class Criterion:
    """A way to score units.

    Attributes:
        name: the name for users.
        score: maps the evidence of one group to one score per unit, [units], higher = keep.
        source: paper and equation.
        scope: the default set of units that compete with each other; see `Scope`.
        requests: the statistics of activations that `score` needs.
        gradients: the gradients that `score` needs.
        entries: scores each entry of a weight; None if the criterion scores whole units only.
        entry_requests: the statistics that `entries` needs; None means all `requests` at `OPERAND_PLACES`.
        entry_gradients: the gradients that `entries` needs; None means `gradients`.
        entry_rounds: the number of rounds in which `mask` removes entries by default.
        summary: one line that describes the criterion.
        limits: the limitations of the criterion, in a few words.
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
        """The criterion with the requests and gradients that `entries` needs in place of those of `score`."""
        requests, gradients = self.entry_requests, self.entry_gradients
        if requests is None:
            requests = tuple(request for request in self.requests if request.place in OPERAND_PLACES)
        return replace(self, requests=requests, gradients=self.gradients if gradients is None else gradients)

    @property
    def needs(self) -> str:
        """The inputs of the criterion as text: "weights", "activations", "gradients", "activations and curvature"."""
        uses = {
            "activations": bool(self.requests),
            "gradients": any(gradient.needs_data for gradient in self.gradients),
            "curvature": any(gradient.needs_curvature for gradient in self.gradients),
        }
        return " and ".join(name for name, used in uses.items() if used) or "weights"

    @property
    def leaves(self) -> tuple[Criterion, ...]:
        """The criterion alone; see `Composite.leaves`."""
        return (self,)

    @property
    def scores_entries(self) -> bool:
        """Whether the criterion can score single entries of weights."""
        return self.entries is not None

    @property
    def needs_data(self) -> bool:
        """Whether the criterion needs data."""
        return bool(self.requests) or any(gradient.needs_data for gradient in self.gradients)

    @property
    def needs_loss(self) -> bool:
        """Whether the criterion needs a loss, and therefore labelled data."""
        return any(gradient.needs_loss for gradient in self.gradients)


class Untuned(Protocol):
    """A combination of criteria with weights that are still to be chosen by the loss on held-out data."""

    def tuned_criterion(
        self,
        parts: Mapping[str, GroupScores],
        model: nn.Module,
        structure: Structure,
        held_out: Iterable[Any],
        loss: Loss | None,
        progress: Progress,
    ) -> Composite:
        """Choose the weights.

        Args:
            parts: criterion name to the scores of all groups.
            model: evaluated, not changed.
            structure: of the model.
            held_out: labelled batches that the parts were not scored on.
            loss: see `secateurs.score_many`.
            progress: wraps the iteration over the groups.

        Returns:
            The combination with the chosen weights.
        """
        ...


@dataclass(frozen=True)
class Composite:
    """A criterion that combines the scores of several criteria, for all groups at once.

    Attributes:
        name: the name for users. Composites are equal if all attributes except `join` are equal.
        parts: the combined criteria.
        join: maps the name of each part and the scores of all groups by that part to the combined scores.
        source: see `Criterion`.
        scope: see `Criterion`.
        summary: see `Criterion`.
        limits: see `Criterion`.
        untuned: chooses the weights of the parts; None if the weights are fixed.
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
        """The inputs of all parts as text; see `Criterion.needs`."""
        return " and ".join(dict.fromkeys(name for part in self.parts for name in part.needs.split(" and ")))

    scores_entries = False

    @property
    def leaves(self) -> tuple[Criterion, ...]:
        """The criteria at the ends of the tree of parts."""
        return tuple(leaf for part in self.parts for leaf in part.leaves)

    @property
    def needs_data(self) -> bool:
        """Whether a part or the choice of the weights needs data."""
        return self.untuned is not None or any(part.needs_data for part in self.parts)

    @property
    def needs_loss(self) -> bool:
        """Whether a part or the choice of the weights needs a loss."""
        return self.untuned is not None or any(part.needs_loss for part in self.parts)


AnyCriterion = Criterion | Composite


def scoring_passes(criteria: Sequence[AnyCriterion]) -> int:
    """Count the passes over the data that one scoring by these criteria together takes."""
    leaves = [leaf for criterion in criteria for leaf in criterion.leaves]
    passes = any(leaf.requests for leaf in leaves) + gradient_passes(g for leaf in leaves for g in leaf.gradients)
    return passes + sum(isinstance(criterion, Composite) and criterion.untuned is not None for criterion in criteria)


def described(criterion: AnyCriterion) -> dict[str, Any]:
    """Describe a criterion as plain data, for lists and reports."""
    names = ("needs", "scope", "scores_entries", "summary", "limits", "source")
    description = {name: getattr(criterion, name) for name in names}
    return {**description, "scope": str(criterion.scope)}
