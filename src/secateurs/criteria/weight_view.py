"""The collected inputs of criteria (`Sources`), and the view of a single weight for scores of entries (`Weight`)."""

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
    """The tensors of a model, and the statistics and gradients that were collected from the model.

    Attributes:
        structure: the structure of the model.
        tensors: the parameters and buffers, by name.
        observations: (tap, class of a statistic) to the statistic of activations.
        gradients: gradient to the values by name of a parameter or group.
        norms: the names of the normalisation modules.
    """

    structure: Structure
    tensors: Mapping[str, Tensor]
    observations: Observations = field(default_factory=dict)
    gradients: Gradients = field(default_factory=dict)
    norms: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Weight:
    """One weight, with the statistics and gradients that a criterion may use to score each entry.

    Attributes:
        name: the name of the parameter.
        value: the entries, in the shape of the parameter and with at least the precision of float32.
        sources: the tensors, statistics and gradients of the whole model.
        generator: a seeded random number generator on the CPU.

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
        """Create the view of a parameter.

        Args:
            name: the name of the parameter.
            sources: the tensors, statistics and gradients of the whole model.
            generator: a seeded random number generator on the CPU.
        """
        value = sources.tensors[name].detach()
        return cls(name, value.to(torch.promote_types(value.dtype, torch.float32)), sources, generator)

    def gradient(self, gradient: str | Gradient) -> Tensor:
        """Look up the values of a gradient that has one value per parameter entry, such as "gradient".

        Args:
            gradient: one of the `gradients` of the criterion: a `Gradient`, or a name in `secateurs.observe.GRADIENTS`.

        Returns:
            One value per entry, in the shape of the weight.
        """
        return self.sources.gradients[find_gradient(gradient)][self.name].to(self.value)

    def by_matrix(self, request: Request, score: Callable[[Tensor, Places], Tensor]) -> Tensor:
        """Score the entries of the weight as a matrix. Each matrix of a stack of experts is scored separately.

        Args:
            request: the request for a statistic of the features that the weight sums over, at "operand" or "maps".
            score: maps a matrix [features, outputs] and the `Places` where the matrix is used to scores [features,
                outputs].

        Returns:
            One score per entry, float64 in the shape of the weight.

        Raises:
            UnscorableError: the inputs of the weight cannot be observed.
        """
        matrices: dict[int | None, list[tuple[Contraction, Any]]] = defaultdict(list)
        for contraction in map(request.of, self.sources.structure.contractions):
            if contraction.weight == self.name:
                statistic = self.sources.observations[contraction.operand, request.statistic]
                matrices[contraction.expert].append((contraction, statistic))
        if not matrices:
            raise UnscorableError("the inputs of the weight cannot be observed")
        scores = torch.empty_like(self.value, dtype=torch.float64)
        for places in matrices.values():
            contraction = places[0][0]
            matrix_scores = score(contraction.matrix(self.value), places)
            contraction.part(scores).copy_(contraction.fold(matrix_scores, self.value))
        return scores


Places = Sequence[tuple[Contraction, Any]]
"""The operator calls that multiply a matrix with activations, each with a statistic of these activations."""

Entries = Callable[[Weight], Tensor]
"""Maps a weight to one score per entry, in the shape of the weight."""
