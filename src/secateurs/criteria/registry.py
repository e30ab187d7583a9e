"""Criteria: functions that score the units of one group from evidence about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from secateurs.errors import CriterionError
from secateurs.observe import Observations, Request, Statistic
from secateurs.structure import Group, Member, Structure
from secateurs.structure.indexing import take_units


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at.

    Attributes:
        group: the group to score.
        generator: a seeded source of random numbers.
    """

    group: Group
    generator: torch.Generator
    _structure: Structure
    _tensors: Mapping[str, Tensor]
    _observations: Observations

    def weights(self) -> list[Tensor]:
        """Each weight matrix or kernel that the units are made or used by: [units, everything else], float32 or more.

        Vectors (biases, norm parameters) are left out.
        """
        return [self._slices(m) for m in self.group.members if self._tensors[m.tensor].ndim > 1]

    def statistics(self, request: Request) -> list[Statistic]:
        """The statistics that the criterion asked for, one per place where the units are seen.

        Raises:
            CriterionError: the group's units are seen nowhere.
        """
        found = self._observations.get((self.group.name, request), [])
        if not found:
            raise CriterionError(
                f"the units of group {self.group.name!r} cannot be observed {request.place} a non-linearity; "
                "keep the group, or use a criterion of weights"
            )
        return found

    def _slices(self, member: Member) -> Tensor:
        tensor = self._tensors[member.tensor].detach()
        axis = self._structure.axes[member.tensor][member.dim]
        units = take_units(tensor, member.dim, axis, self.group.var).movedim(member.dim, 0).flatten(1)
        return units.to(torch.promote_types(units.dtype, torch.float32))


Score = Callable[[Evidence], Tensor]


@dataclass(frozen=True)
class Criterion:
    """A way to score units.

    Attributes:
        name: what users call it.
        score: gives one score per unit, [units], higher = keep.
        source: paper and equation.
        comparable: whether scores of different groups can be ranked together.
        requests: the statistics of activations that it needs.
        summary: one line about it.
    """

    name: str
    score: Score
    source: str
    comparable: bool
    requests: tuple[Request, ...]
    summary: str

    @property
    def needs(self) -> str:
        """What it looks at."""
        return "activations" if self.requests else "weights"


CRITERIA: dict[str, Criterion] = {}


def criterion(
    name: str, *, source: str, comparable: bool, requests: tuple[Request, ...] = ()
) -> Callable[[Score], Score]:
    """Make a function a criterion that can be used by name; its docstring's first line is its summary.

    Args:
        name: what users will call it.
        source: paper and equation.
        comparable: whether scores of different groups can be ranked together.
        requests: the statistics of activations that it needs.

    Raises:
        CriterionError: the name is taken, or there is no docstring.

    Example:
        >>> @criterion("loudest", source="this page", comparable=False)
        ... def loudest(evidence):
        ...     "Largest single weight."
        ...     return torch.stack([w.abs().amax(1) for w in evidence.weights()]).amax(0)
    """

    def register(score: Score) -> Score:
        if name in CRITERIA:
            raise CriterionError(f"there is a criterion {name!r} already ({CRITERIA[name].summary})")
        if not score.__doc__:
            raise CriterionError(f"criterion {name!r} needs a docstring, whose first line is its summary")
        summary = score.__doc__.strip().splitlines()[0]
        CRITERIA[name] = Criterion(name, score, source, comparable, requests, summary)
        return score

    return register


def find(name: str | Criterion) -> Criterion:
    """The criterion of that name.

    Raises:
        CriterionError: there is none; the message lists those there are.
    """
    if isinstance(name, Criterion):
        return name
    if not isinstance(name, str) or name not in CRITERIA:
        raise CriterionError(f"unknown criterion {name!r}; there are: {', '.join(sorted(CRITERIA))}")
    return CRITERIA[name]
