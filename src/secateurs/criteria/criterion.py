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
        score: maps the `Evidence` of one group to one score per unit, [units], higher = keep.
        source: paper and equation.
        scope: the default scope, which defines the units that compete with each other; see `Scope`.
        requests: the statistics of activations that `score` needs.
        gradients: the gradients that `score` needs.
        entries: maps a `Weight` to one score per entry, in the shape of the weight; None if the criterion scores whole
            units only.
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
        """A copy of the criterion whose `requests` and `gradients` are the ones that `entries` needs."""
        requests, gradients = self.entry_requests, self.entry_gradients
        if requests is None:
            requests = tuple(request for request in self.requests if request.place in OPERAND_PLACES)
        return replace(self, requests=requests, gradients=self.gradients if gradients is None else gradients)

    @property
    def needs(self) -> str:
        """The inputs of the criterion as text, such as "weights", "activations" or "activations and curvature"."""
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
    """A weighted combination of criteria whose weights are not chosen yet; the loss on held-out data chooses them."""

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
            model: the model; it is evaluated and not changed.
            structure: the structure of the model.
            held_out: labelled batches that were not used to compute the scores.
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
        name: the name for users.
        parts: the combined criteria.
        join: computes the combined scores of all groups from a mapping of part name to the scores of all groups. Two
            composites are equal if all attributes except `join` are equal.
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
        """All criteria in the tree of parts that are not composites."""
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
"""A criterion, or a combination of criteria."""


def scoring_passes(criteria: Sequence[AnyCriterion]) -> int:
    """Count the passes over the data that `score_many` takes.

    Args:
        criteria: the criteria that score the model together.

    Returns:
        The number of passes, including one pass to choose the weights of each `untuned` composite.
    """
    leaves = [leaf for criterion in criteria for leaf in criterion.leaves]
    passes = any(leaf.requests for leaf in leaves) + gradient_passes(g for leaf in leaves for g in leaf.gradients)
    return passes + sum(isinstance(criterion, Composite) and criterion.untuned is not None for criterion in criteria)


def described(criterion: AnyCriterion) -> dict[str, Any]:
    """Describe a criterion as plain data, for lists and reports.

    Args:
        criterion: the criterion.

    Returns:
        Attribute name to text or boolean.
    """
    names = ("needs", "scope", "scores_entries", "summary", "limits", "source")
    description = {name: getattr(criterion, name) for name in names}
    return {**description, "scope": str(criterion.scope)}
