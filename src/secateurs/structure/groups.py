"""Groups of removable units, and the dimensions of tensors that hold the units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from secateurs.structure.axis import Var
from secateurs.structure.taps import Tap


class Member(NamedTuple):
    """One dimension of a parameter or buffer that holds the units of a group.

    Attributes:
        tensor: the name of the parameter or buffer.
        dim: the dimension.
        consumed: whether an operator sums over the dimension, such as over the columns of a linear layer.
    """

    tensor: str
    dim: int
    consumed: bool

    def __str__(self) -> str:
        return f"{self.tensor}[{self.dim}]"


@dataclass(frozen=True, eq=False)
class Group:
    """Units that compete with each other: one unit per index of an axis. A unit is removed from all members at once.

    Attributes:
        name: the name of the module that produces the units, such as "layer1.0.conv1".
        kind: the kind of the units, one of `secateurs.structure.UNIT_KINDS`.
        size: the number of units.
        members: the dimensions of parameters and buffers that hold the units.
        after: the taps of the units after their activation; without an activation, where weights use the units.
        fired: the same taps; if a gate multiplies the units, the taps of the gate after its activation.
        activations: the taps of the units before and after each activation.
        inexact: the reason why a removal changes the values of the remaining units, or None if it does not.
        var: the variable of the units in the axes of the structure.
        least: the smallest number of units that may be kept.
        multiple: the number of kept units must be a multiple of this number, unless all units are kept.

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
        """List the modules that use the units (`consumed`), or that produce or transform them, as text."""
        names = (member.tensor.rpartition(".")[0] for member in self.members if member.consumed == consumed)
        return ", ".join(dict.fromkeys(name or "model" for name in names))
