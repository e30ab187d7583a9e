"""What was gathered about a model, and what a criterion may look at to score the entries of one of its weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from secateurs.errors import UnscorableError
from secateurs.observe import Gradients, Observations, Statistic
from secateurs.structure import Contraction, Structure

PLACES = ("after", "fired", "around", "operand", "maps", "arrival")
"""After the non-linearity of a group's units; the same, but where a gate multiplies the units, after that of the gate;
before and after each; what the weights that sum over them are multiplied with, feature by feature; the same with the
positions of a flattened map as samples of one feature, and each tap of a kernel as a feature of its own; what layers
that sum over the units put out, where it is added to other data or goes into a non-linearity, and the sum."""


class Request(NamedTuple):
    """A statistic of the activations at a place (see `PLACES`) of every group."""

    place: str
    statistic: type[Statistic]

    def of(self, contraction: Contraction) -> Contraction:
        """The contraction as it is seen at the places "operand" or "maps"."""
        return contraction.alike if self.place == "maps" else contraction


@dataclass(frozen=True)
class Sources:
    """Everything that was gathered about a model: what all `Evidence` and `Weight` are views of."""

    structure: Structure
    tensors: Mapping[str, Tensor]
    observations: Observations = field(default_factory=dict)
    gradients: Gradients = field(default_factory=dict)
    norms: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Weight:
    """One weight, entry by entry: what criteria of single weights look at.

    Attributes:
        name: of the parameter.
        value: float32 or better.
        generator: a seeded source of random numbers.
    """

    name: str
    value: Tensor
    sources: Sources
    generator: torch.Generator

    @classmethod
    def named(cls, name: str, sources: Sources, generator: torch.Generator) -> Weight:
        """The weight of that name."""
        value = sources.tensors[name].detach()
        return cls(name, value.to(torch.promote_types(value.dtype, torch.float32)), sources, generator)

    def gradient(self, kind: str) -> Tensor:
        """What was asked for of `secateurs.observe.KINDS`, in the shape of the weight."""
        return self.sources.gradients[kind][self.name].to(self.value)

    def by_matrix(self, request: Request, score: Callable[[Tensor, Places], Tensor]) -> Tensor:
        """One score per entry, in the shape of the weight, of which each matrix of a stack is scored by itself.

        Args:
            request: what is to be known of the features that the weight sums over.
            score: maps a matrix [features, everything that one feature is multiplied with] and the places where it is
                multiplied, each with the statistic there, to scores in the shape of the matrix.

        Raises:
            UnscorableError: there is no such place.
        """
        matrices: dict[int | None, list[tuple[Contraction, Any]]] = defaultdict(list)
        for its in map(request.of, self.sources.structure.contractions):
            if its.weight == self.name:
                matrices[its.expert].append((its, self.sources.observations[its.operand, request.statistic]))
        if not matrices:
            raise UnscorableError("what it is multiplied with cannot be seen")
        scores = torch.empty_like(self.value, dtype=torch.float64)
        for places in matrices.values():
            contraction = places[0][0]
            found = score(contraction.matrix(self.value), places)
            contraction.part(scores).copy_(contraction.fold(found, self.value))
        return scores


Places = Sequence[tuple[Contraction, Any]]
"""Where a matrix is multiplied, with a statistic of each place."""

Entries = Callable[[Weight], Tensor]
"""One score per entry of a weight."""
