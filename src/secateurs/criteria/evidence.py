"""What a criterion may look at to score the units of a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from secateurs.criteria.weight_view import Entries, Request, Sources, Weight
from secateurs.errors import UnscorableError
from secateurs.observe import Statistic
from secateurs.structure import Contraction, Group, Member, take_units

AGGREGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda scores: scores.mean(0),
    "max": lambda scores: scores.amax(0),
    "sum": lambda scores: scores.sum(0),
}
"""How the scores that a unit gets in several layers, or at several places, become one."""

S = TypeVar("S", bound=Statistic)


class Operand(NamedTuple):
    """What one weight does with the units of a group.

    Attributes:
        weight: float64 [features, everything that one feature is multiplied with].
        units: the features of each unit, int64 [units, features per unit].
        statistic: of what the weight is multiplied with, per feature.
        contraction: where that is.
        bias: whether the layer has one.
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
    """What a criterion may look at to score the units of one group.

    Attributes:
        group: the group to score.
        generator: a seeded source of random numbers.
        aggregate: "mean", "max" or "sum"; see `combine`.
    """

    group: Group
    generator: torch.Generator
    sources: Sources
    aggregate: str = "mean"

    def combine(self, scores: Sequence[Tensor]) -> Tensor:
        """One score per unit [units] from one per unit and layer, or per unit and place."""
        return AGGREGATES[self.aggregate](torch.stack([its.double() for its in scores]))

    def sums(self, score: Entries, vectors: bool = False) -> Tensor:
        """One score per unit [units] from scores of single entries, added up over each weight; see `entries`."""
        return self.combine([its.sum(1) for its in self.entries(score, vectors=vectors)])

    def weights(self, consumed: bool | None = None) -> list[Tensor]:
        """The weights that the units are made or used by, each as [units, everything else], in float32 or better.

        Args:
            consumed: only those that use the units (True), or make and transform them (False).

        Raises:
            UnscorableError: there are none.
        """
        return self.entries(lambda weight: weight.value, consumed)

    def entries(self, score: Entries, consumed: bool | None = None, vectors: bool = False) -> list[Tensor]:
        """As `weights`, but with `score` of every entry in the place of the parameters' values.

        Args:
            score: gives a number per entry.
            consumed: as for `weights`.
            vectors: with biases, the parameters of norms, and whatever else has one dimension: they are further
                columns of the weight that they follow.
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
        last: list[Tensor] = []  # of the weights that make the units
        for member in members:
            slices = self._slices(member, score(self._weight(member.tensor)))
            if self.sources.tensors[member.tensor].ndim == 1 and last:
                last.append(slices)
            else:
                layers.append([slices])
                last = last if member.consumed else layers[-1]
        return [torch.cat(parts, 1) for parts in layers]

    def scales(self) -> list[Tensor]:
        """What normalisations (modules with "Norm" in the name of their class) multiply the units with: each [units].

        Raises:
            UnscorableError: there are none.
        """
        members = [m for m in self.group.members if m.tensor.rpartition(".")[0] in self.sources.norms]
        members = [m for m in members if m.tensor.endswith("weight")]
        if not members:
            raise UnscorableError("no normalisation scales its units")
        return [self._slices(member, self._weight(member.tensor).value).mean(1) for member in members]

    def gradient(self, kind: str) -> Tensor:
        """What was asked for of the `secateurs.observe.KINDS` that are per unit: [units].

        Raises:
            UnscorableError: no weight uses the units.
        """
        if not any(member.consumed for member in self.group.members):
            raise UnscorableError("there are no weights that use its units")
        return self.sources.gradients[kind][self.group.name]

    def statistics(self, request: Request) -> list[Any]:
        """The statistics that the criterion asked for "after" or "fired", one per place where the units are seen.

        Raises:
            UnscorableError: the group's units are seen nowhere.
        """
        taps = self.group.fired if request.place == "fired" else self.group.after
        if not taps:
            raise UnscorableError("its units cannot be observed after a non-linearity")
        return [self.sources.observations[tap, request.statistic] for tap in taps]

    def around(self, statistic: type[S]) -> list[tuple[S, S]]:
        """A statistic before and after each non-linearity that the units pass.

        Raises:
            UnscorableError: they pass none.
        """
        if not self.group.activations:
            raise UnscorableError("its units pass no non-linearity")
        observations = self.sources.observations
        return [
            (observations[before, statistic], observations[after, statistic])
            for before, after in self.group.activations
        ]

    def operands(self, request: Request) -> list[Operand]:
        """The weights that sum over the group's units, with the statistic of what they are multiplied with.

        Raises:
            UnscorableError: there are none.
        """
        found = [
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
        if not found:
            raise UnscorableError("no linear layer or convolution uses its units where their values can be seen")
        return found

    def arrival(self, contraction: Contraction, statistic: type[S]) -> tuple[S, S] | None:
        """A statistic of a layer's outputs where they are added to other data, and of the sum; see `Contraction`."""
        if contraction.arrival is None:
            return None
        part, whole = contraction.arrival
        return self.sources.observations[part, statistic], self.sources.observations[whole, statistic]

    def _weight(self, name: str) -> Weight:
        return Weight.named(name, self.sources, self.generator)

    def _slices(self, member: Member, tensor: Tensor) -> Tensor:
        axis = self.sources.structure.axes[member.tensor][member.dim]
        return take_units(tensor, member.dim, axis, self.group.var).movedim(member.dim, 0).flatten(1)
