"""What a criterion may use to score the units of a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from secateurs.criteria.request import Request
from secateurs.criteria.weight_view import Entries, Sources, Weight
from secateurs.errors import UnscorableError
from secateurs.observe import Gradient, Statistic, find_gradient
from secateurs.structure import Contraction, Group, Member, take_units

AGGREGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda scores: scores.mean(0),
    "max": lambda scores: scores.amax(0),
    "sum": lambda scores: scores.sum(0),
}
"""The ways to combine the scores of a unit in several layers, or at several places."""

S = TypeVar("S", bound=Statistic)


class Operand(NamedTuple):
    """A weight that sums over the units of a group, and a statistic of its inputs.

    Attributes:
        weight: float64 [features, outputs].
        units: the features of each unit, int64 [units, features per unit].
        statistic: of the weight's inputs, per feature.
        contraction: where the weight is multiplied with its inputs.
        bias: whether the layer has a bias.
        value: the weight in its own shape.
    """

    weight: Tensor
    units: Tensor
    statistic: Any
    contraction: Contraction
    bias: bool
    value: Tensor


@dataclass(frozen=True)
class Evidence:
    """What a criterion may use to score the units of one group.

    Attributes:
        group: the group to score.
        generator: a seeded source of random numbers.
        sources: everything that was collected from the model.
        aggregate: "mean", "max" or "sum"; see `combine`.

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
        """One score per unit [units] from one per unit and layer, or per unit and place."""
        return AGGREGATES[self.aggregate](torch.stack([layer.double() for layer in scores]))

    def sums(self, score: Entries, vectors: bool = False) -> Tensor:
        """One score per unit [units] from scores of single entries, added up over each weight; see `entries`."""
        return self.combine([layer.sum(1) for layer in self.entries(score, vectors=vectors)])

    def weights(self, consumed: bool | None = None) -> list[Tensor]:
        """The weights that make or use the units, each as [units, everything else], in float32 or better.

        Args:
            consumed: only the weights that use the units (True), or only those that make and transform them (False).

        Raises:
            UnscorableError: there are none.
        """
        return self.entries(lambda weight: weight.value, consumed)

    def entries(self, score: Entries, consumed: bool | None = None, vectors: bool = False) -> list[Tensor]:
        """As `weights`, with a score of every entry in place of its value.

        Args:
            score: gives a number per entry.
            consumed: as for `weights`.
            vectors: include biases, the parameters of norms and all others that have one dimension, as further columns
                of the weight that they follow.

        Raises:
            UnscorableError: there are no such weights.
        """
        members = [
            member
            for member in self.group.members
            if member.tensor in self.sources.structure.parameters
            and (vectors or self.sources.tensors[member.tensor].ndim > 1)
            and (consumed is None or member.consumed == consumed)
        ]
        if not members:
            roles = {None: "make or use", True: "use", False: "make"}
            raise UnscorableError(f"there are no weights that {roles[consumed]} its units")
        layers: list[list[Tensor]] = []
        last: list[Tensor] = []  # the latest weight that makes the units, with its vectors
        for member in members:
            slices = self._slices(member, score(self._weight(member.tensor)))
            if self.sources.tensors[member.tensor].ndim == 1 and last:
                last.append(slices)
            else:
                layers.append([slices])
                last = last if member.consumed else layers[-1]
        return [torch.cat(parts, 1) for parts in layers]

    def scales(self) -> list[Tensor]:
        """The factors [units] of each normalisation (a module with "Norm" in the name of its class).

        Raises:
            UnscorableError: there are none.
        """
        members = [m for m in self.group.members if m.tensor.rpartition(".")[0] in self.sources.norms]
        members = [m for m in members if m.tensor.endswith("weight")]
        if not members:
            raise UnscorableError("no normalisation scales its units")
        return [self._slices(member, self._weight(member.tensor).value).mean(1) for member in members]

    def gradient(self, gradient: str | Gradient) -> Tensor:
        """A gradient per unit [units] that the criterion asked for.

        Raises:
            UnscorableError: the gradient has no values for this group, as where no weight uses its units.
        """
        gradient = find_gradient(gradient)
        values = self.sources.gradients[gradient]
        if self.group.name not in values:
            raise UnscorableError(f"its units have no {gradient}: there are no weights that use them")
        return values[self.group.name]

    def statistics(self, request: Request) -> list[Any]:
        """The statistics that the criterion asked for at "after" or "fired", one per place of the units.

        Raises:
            UnscorableError: the units are observed nowhere.
        """
        taps = self.group.fired if request.place == "fired" else self.group.after
        if not taps:
            raise UnscorableError("its units cannot be observed after a non-linearity")
        return [self.sources.observations[tap, request.statistic] for tap in taps]

    def around(self, statistic: type[S]) -> list[tuple[S, S]]:
        """The statistics that the criterion asked for at "around": before and after each non-linearity of the units.

        Raises:
            UnscorableError: the units pass no non-linearity.
        """
        if not self.group.activations:
            raise UnscorableError("its units pass no non-linearity")
        observations = self.sources.observations
        return [
            (observations[before, statistic], observations[after, statistic])
            for before, after in self.group.activations
        ]

    def operands(self, request: Request) -> list[Operand]:
        """The weights that sum over the units, with the statistics that the criterion asked for at "operand" or "maps".

        Raises:
            UnscorableError: there are none.
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
            raise UnscorableError("no linear layer or convolution uses its units where their values can be seen")
        return operands

    def arrival(self, contraction: Contraction, statistic: type[S]) -> tuple[S, S] | None:
        """The statistics at "arrival": of a layer's outputs where they are added to other data, and of the sum."""
        if contraction.arrival is None:
            return None
        part, whole = contraction.arrival
        return self.sources.observations[part, statistic], self.sources.observations[whole, statistic]

    def _weight(self, name: str) -> Weight:
        return Weight.named(name, self.sources, self.generator)

    def _slices(self, member: Member, tensor: Tensor) -> Tensor:
        axis = self.sources.structure.axes[member.tensor][member.dim]
        return take_units(tensor, member.dim, axis, self.group.var).movedim(member.dim, 0).flatten(1)
