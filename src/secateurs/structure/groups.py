"""Groups of removable units: what a unit is, and where it lies in a model's tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from secateurs.structure.axis import Var
from secateurs.structure.taps import Tap


class Member(NamedTuple):
    """One dimension of one parameter or buffer along which the units of a group lie.

    Attributes:
        tensor: the name of the parameter or buffer.
        dim: the dimension.
        consumed: whether an operator sums over that dimension, as over the columns of a linear layer.
    """

    tensor: str
    dim: int
    consumed: bool

    def __str__(self) -> str:
        return f"{self.tensor}[{self.dim}]"


@dataclass(frozen=True, eq=False)
class Group:
    """Units that compete with each other: one per index of one axis, each removed whole from every member.

    Attributes:
        name: the module that makes the units, such as "layer1.0.conv1".
        kind: the kind of the units, one of `secateurs.structure.UNIT_KINDS`.
        size: the number of units.
        members: the dimensions of parameters and buffers along which the units lie.
        after: where the units can be observed after their activation, or where they are used if they pass none.
        fired: the same, but for units that a gate multiplies, where the gate can be observed after its activation.
        activations: where the units can be observed before and after each activation that they pass.
        inexact: why removal changes what the remaining units compute, or None if it does not.
        var: the variable of the units in the axes of the structure.
        least: the smallest number of units that may be left.
        multiple: the number of units left must be a multiple of this number, unless all are left.

    Example:
        >>> group = sc.trace(model, example_inputs).groups["0"]
        >>> print(group.kind, group.size, *group.members[:3])
        channel 8 0.weight[0] 0.bias[0] 1.weight[0]
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
        """The modules that use the units (`consumed`) or that make and transform them, as text."""
        names = (member.tensor.rpartition(".")[0] for member in self.members if member.consumed == consumed)
        return ", ".join(dict.fromkeys(name or "model" for name in names))
