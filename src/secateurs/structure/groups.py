"""Groups of removable units: what a unit is, and where it lies in a model's tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from secateurs.structure.axis import Var
from secateurs.structure.taps import Tap


class Member(NamedTuple):
    """One dimension of one parameter or buffer along which the units of a group lie.

    `consumed` says that the units are what that dimension sums over, as the columns of a linear layer do.
    """

    tensor: str
    dim: int
    consumed: bool

    def __str__(self) -> str:
        return f"{self.tensor}[{self.dim}]"


@dataclass(frozen=True, eq=False)
class Group:
    """Units that compete: one per index of one axis, each removed whole from every member.

    Attributes:
        name: the module that makes the units, such as "layer1.0.conv1".
        kind: what a unit is; see `secateurs.structure.kinds`.
        size: number of units.
        members: where they lie in parameters and buffers.
        after: where they can be seen after their non-linearity (where they are used, if they pass none).
        fired: the same, but for units that a gate multiplies, where the gate can be seen after its non-linearity.
        activations: where they can be seen before and after each non-linearity that they pass.
        inexact: why removal changes what the remaining units compute, or None if it does not.
        var: the group's variable in the axes of the structure.
        least: how many units must be left.
        multiple: the model runs with multiples of so many units only, or with all.
    """

    name: str
    kind: str
    size: int
    members: tuple[Member, ...]
    after: tuple[Tap, ...]
    fired: tuple[Tap, ...]
    activations: tuple[tuple[Tap, Tap], ...]
    inexact: str | None
    var: Var
    least: int = 1
    multiple: int = 1

    def modules(self, consumed: bool) -> str:
        """The modules that use the units (consumed) or make and transform them, for people to read."""
        names = (member.tensor.rpartition(".")[0] for member in self.members if member.consumed == consumed)
        return ", ".join(dict.fromkeys(name or "model" for name in names))
