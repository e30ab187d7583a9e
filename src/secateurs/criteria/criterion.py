"""What a criterion is: a function that scores the units of one group, or a composition of such functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from secateurs.criteria.evidence import Evidence
from secateurs.criteria.weight_view import Entries, Request

Score = Callable[[Evidence], Tensor]


GroupScores = Mapping[str, Tensor]
"""Group name to one score per unit."""


@dataclass(frozen=True)
class Criterion:
    """A way to score units.

    Attributes:
        name: what users call it.
        score: gives one score per unit, [units], higher = keep.
        source: paper and equation.
        scope: how its units compete unless somebody says otherwise, see `Scope` and `secateurs.allocate`.
        requests: the statistics of activations that it needs.
        gradients: the gradients that it needs, of `secateurs.observe.KINDS`.
        entries: scores the single entries of a weight, for criteria that can.
        entry_gradients: the gradients that `entries` needs, where they are others.
        summary: one line about it.
        limits: what it cannot see or do, in a few words.
    """

    name: str
    score: Score
    source: str
    scope: str
    requests: tuple[Request, ...] = ()
    gradients: tuple[str, ...] = ()
    entries: Entries | None = None
    entry_gradients: tuple[str, ...] | None = None
    summary: str = ""
    limits: str = ""

    @property
    def needs(self) -> str:
        """What it looks at."""
        found = [what for what, asked in (("activations", self.requests), ("gradients", self._losses)) if asked]
        curved = any(kind.startswith("hessian") for kind in self.gradients)
        return " and ".join([*found, *(["curvature"] if curved else [])]) or "weights"

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
        """Whether it looks at data."""
        return bool(self.requests or self._losses)

    @property
    def needs_loss(self) -> bool:
        """Whether it looks at a loss, and so at targets."""
        return bool(self._losses)

    @property
    def _losses(self) -> list[str]:
        return [kind for kind in self.gradients if not kind.startswith("synaptic")]


@dataclass(frozen=True)
class Composite:
    """A criterion made of others, over all groups at once.

    Attributes:
        name: what users call it.
        parts: what it is made of.
        join: makes the scores of all groups from those of each part, given by name.
        source, scope, summary, limits: as for `Criterion`.
        untuned: the hybrid that it is, if that has yet to find its weights.
    """

    name: str
    parts: tuple[AnyCriterion, ...]
    join: Callable[[Mapping[str, GroupScores]], GroupScores]
    source: str
    scope: str
    summary: str = ""
    limits: str = ""
    untuned: Any = None

    @property
    def needs(self) -> str:
        """What its parts look at."""
        found = dict.fromkeys(what for part in self.parts for what in part.needs.split(" and "))
        return " and ".join(found)

    scores_entries = False

    @property
    def leaves(self) -> tuple[Criterion, ...]:
        """The criteria that it is made of in the end."""
        return tuple(leaf for part in self.parts for leaf in part.leaves)

    @property
    def needs_data(self) -> bool:
        """Whether a part looks at data, or the weights are found by data."""
        return self.untuned is not None or any(part.needs_data for part in self.parts)

    @property
    def needs_loss(self) -> bool:
        """Whether a part looks at a loss, or the weights are found by one."""
        return self.untuned is not None or any(part.needs_loss for part in self.parts)


AnyCriterion = Criterion | Composite


def described(criterion: AnyCriterion) -> dict[str, Any]:
    """What there is to know about a criterion, as plain data."""
    names = ("needs", "scope", "scores_entries", "summary", "limits", "source")
    return {name: getattr(criterion, name) for name in names}
