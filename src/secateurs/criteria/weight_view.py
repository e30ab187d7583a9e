"""What was collected from a model, and what a criterion may use to score the entries of one of its weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from secateurs.criteria.request import Request
from secateurs.errors import UnscorableError
from secateurs.observe import Gradient, Gradients, Observations, find_gradient
from secateurs.structure import Contraction, Structure


@dataclass(frozen=True)
class Sources:
    """Everything that was collected from a model; `Evidence` and `Weight` are views of it."""

    structure: Structure
    tensors: Mapping[str, Tensor]
    observations: Observations = field(default_factory=dict)
    gradients: Gradients = field(default_factory=dict)
    norms: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Weight:
    """One weight, entry by entry: what criteria use to score single entries.

    Attributes:
        name: of the parameter.
        value: float32 or better.
        generator: a seeded source of random numbers.

    Example:
        >>> from secateurs.criteria import temporary_criteria
        >>> with temporary_criteria():  # undone at the end of the block
        ...     @sc.criterion("largest", source="this example", entries=lambda weight: weight.value.abs())
        ...     def largest(evidence):
        ...         "Sum of absolute weights."
        ...         return evidence.sums(lambda weight: weight.value.abs())
        ...     masked = sc.mask(model, data, "largest", "keep:0.5")
        >>> round(masked.sparsity, 2)
        0.5
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

    def gradient(self, gradient: str | Gradient) -> Tensor:
        """A gradient that the criterion asked for, in the shape of the weight."""
        return self.sources.gradients[find_gradient(gradient)][self.name].to(self.value)

    def by_matrix(self, request: Request, score: Callable[[Tensor, Places], Tensor]) -> Tensor:
        """One score per entry, in the shape of the weight; each matrix of a stack is scored by itself.

        Args:
            request: a statistic of the features that the weight sums over.
            score: maps a matrix [features, outputs] and the places where it is multiplied, each with the statistic
                there, to scores in the shape of the matrix.

        Raises:
            UnscorableError: the weight's operand is observed nowhere.
        """
        matrices: dict[int | None, list[tuple[Contraction, Any]]] = defaultdict(list)
        for contraction in map(request.of, self.sources.structure.contractions):
            if contraction.weight == self.name:
                statistic = self.sources.observations[contraction.operand, request.statistic]
                matrices[contraction.expert].append((contraction, statistic))
        if not matrices:
            raise UnscorableError("its operand cannot be observed")
        scores = torch.empty_like(self.value, dtype=torch.float64)
        for places in matrices.values():
            contraction = places[0][0]
            matrix_scores = score(contraction.matrix(self.value), places)
            contraction.part(scores).copy_(contraction.fold(matrix_scores, self.value))
        return scores


Places = Sequence[tuple[Contraction, Any]]
"""Where a matrix is multiplied, with a statistic of each place."""

Entries = Callable[[Weight], Tensor]
"""One score per entry of a weight."""
