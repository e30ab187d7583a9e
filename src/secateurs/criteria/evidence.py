"""The inputs of a criterion: the weights, statistics and gradients of one group (`Evidence`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from secateurs.criteria.aggregate import AGGREGATES
from secateurs.criteria.operand import Operand
from secateurs.criteria.request import Request
from secateurs.criteria.unit_weights import entries_of_units, scales_of_units
from secateurs.criteria.weight_view import Entries, Sources, Weight
from secateurs.errors import UnscorableError
from secateurs.observe import Gradient, Statistic, find_gradient
from secateurs.structure import Contraction, Group

S = TypeVar("S", bound=Statistic)


@dataclass(frozen=True)
class Evidence:
    """The weights, statistics and gradients of one group, as a criterion sees them.

    Most methods return one result for each layer. `combine` merges such results into one score per unit.

    Attributes:
        group: the group of units to score.
        generator: a seeded random number generator on the CPU.
        sources: the tensors, statistics and gradients of the whole model.
        aggregate: the function that `combine` uses: "mean", "max" or "sum".

    Example:
        >>> from secateurs.criteria import temporary_criteria
        >>> with temporary_criteria():  # undone at the end of the block
        ...     @sc.criterion("widest", source="this example")
        ...     def widest(evidence):
        ...         "Largest weight of the unit, over the mean of its group."
        ...         scores = evidence.combine([weight.abs().amax(1) for weight in evidence.weights()])
        ...         return scores / scores.mean()
        ...     scores = sc.score(model, data, "widest")
        >>> {name: round(float(values.mean()), 3) for name, values in scores.items()}
        {'0': 1.0, '3': 1.0, '7': 1.0}
    """

    group: Group
    generator: torch.Generator
    sources: Sources
    aggregate: str = "mean"

    def combine(self, scores: Sequence[Tensor]) -> Tensor:
        """Combine the scores of each unit in several layers by the mean, maximum or sum; see `aggregate`.

        Args:
            scores: one tensor [units] for each layer, or for each place where the units are observed.

        Returns:
            One score per unit, float64 [units].
        """
        return AGGREGATES[self.aggregate](torch.stack([layer.double() for layer in scores]))

    def sums(self, score: Entries, vectors: bool = False) -> Tensor:
        """Sum the scores of the entries of each unit in each weight, then combine the sums of all weights.

        Args:
            score: maps a `Weight` to one score per entry, in the shape of the weight.
            vectors: whether to include one-dimensional parameters; see `entries`.

        Returns:
            One score per unit, float64 [units].

        Raises:
            UnscorableError: no weight produces or uses the units.
        """
        return self.combine([layer.sum(1) for layer in self.entries(score, vectors=vectors)])

    def weights(self, consumed: bool | None = None) -> list[Tensor]:
        """List the weights that produce or use the units.

        Args:
            consumed: True selects the weights that use the units, False the weights that produce or transform the
                units, and None all of them.

        Returns:
            One tensor [units, entries per unit] for each weight, with at least the precision of float32.

        Raises:
            UnscorableError: the group has no such weight.
        """
        return self.entries(lambda weight: weight.value, consumed)

    def entries(self, score: Entries, consumed: bool | None = None, vectors: bool = False) -> list[Tensor]:
        """Score every entry of the weights that produce or use the units.

        Args:
            score: maps a `Weight` to one score per entry, in the shape of the weight.
            consumed: see `weights`.
            vectors: whether to include one-dimensional parameters, such as biases and the scales of normalisations.
                Such a parameter adds a column to the last preceding weight that produces the units.

        Returns:
            One tensor of scores [units, entries per unit] for each weight.

        Raises:
            UnscorableError: the group has no such weight.
        """
        return entries_of_units(self.group, self.sources, self._weight, score, consumed, vectors)

    def scales(self) -> list[Tensor]:
        """List the scales by which normalisations multiply the units.

        A module counts as a normalisation if the name of its class contains "Norm".

        Returns:
            One tensor [units] for each normalisation.

        Raises:
            UnscorableError: no normalisation scales the units.
        """
        return scales_of_units(self.group, self.sources, self._weight)

    def gradient(self, gradient: str | Gradient) -> Tensor:
        """Look up the values of a gradient that has one value per unit, such as "gate".

        Args:
            gradient: one of the `gradients` of the criterion: a `Gradient`, or a name in `secateurs.observe.GRADIENTS`.

        Returns:
            One value per unit, [units].

        Raises:
            UnscorableError: the gradient has no values for this group, for example because no weight uses the units.
        """
        gradient = find_gradient(gradient)
        values = self.sources.gradients[gradient]
        if self.group.name not in values:
            raise UnscorableError(f"the units have no {gradient}, because no weight uses them")
        return values[self.group.name]

    def statistics(self, request: Request) -> list[Any]:
        """Look up the statistics of the units that the criterion requested for the place "after" or "fired".

        Args:
            request: one of the `requests` of the criterion.

        Returns:
            One statistic for each tap in the model where the units are observed.

        Raises:
            UnscorableError: the units cannot be observed.
        """
        taps = self.group.fired if request.place == "fired" else self.group.after
        if not taps:
            raise UnscorableError("the units cannot be observed after a non-linearity")
        return [self.sources.observations[tap, request.statistic] for tap in taps]

    def around(self, statistic: type[S]) -> list[tuple[S, S]]:
        """Look up the statistics that the criterion requested for the place "around".

        Args:
            statistic: the class of the requested statistic.

        Returns:
            For each non-linearity that is applied to the units: the statistic before and the statistic after it.

        Raises:
            UnscorableError: no non-linearity is applied to the units.
        """
        if not self.group.activations:
            raise UnscorableError("no non-linearity is applied to the units")
        observations = self.sources.observations
        return [
            (observations[before, statistic], observations[after, statistic])
            for before, after in self.group.activations
        ]

    def operands(self, request: Request) -> list[Operand]:
        """List the weights that sum over the units, each with the statistic requested for "operand" or "maps".

        Args:
            request: one of the `requests` of the criterion.

        Returns:
            One `Operand` for each operator call that multiplies such a weight with activations.

        Raises:
            UnscorableError: no linear layer or convolution uses the units where they can be observed.
        """
        operands = [
            Operand(
                contraction.matrix(value).double(),
                contraction.units(self.group.var),
                self.sources.observations[contraction.operand, request.statistic],
                contraction,
                self.sources.structure.bias_of(contraction) is not None,
                value,
            )
            for contraction in map(request.of, self.sources.structure.contractions_of(self.group))
            for value in [self._weight(contraction.weight).value]
        ]
        if not operands:
            raise UnscorableError("no linear layer or convolution uses the units where they can be observed")
        return operands

    def arrival(self, contraction: Contraction, statistic: type[S]) -> tuple[S, S] | None:
        """Look up the statistics that the criterion requested for the place "arrival".

        Args:
            contraction: the operator call of a layer that uses the units.
            statistic: the class of the requested statistic.

        Returns:
            The statistic of the outputs of the layer where they are added to other data or enter a non-linearity, and
            the statistic of the sum there. None if the outputs are neither added nor enter a non-linearity.
        """
        if contraction.arrival is None:
            return None
        part, whole = contraction.arrival
        return self.sources.observations[part, statistic], self.sources.observations[whole, statistic]

    def _weight(self, name: str) -> Weight:
        return Weight.named(name, self.sources, self.generator)
