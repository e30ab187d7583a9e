"""Groups of removable units: where they lie in a model's tensors, and where they can be seen while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from torch import Tensor

from secateurs.structure.axis import Axis, Product, Var
from secateurs.structure.indexing import take_units
from secateurs.structure.sites import Site


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
class Tap:
    """A place where units can be observed while the model runs.

    Attributes:
        owner: whose units they are, for messages.
        site: the operator.
        slot: which of its arguments holds the units, or -1 for its output.
        dim: the dimension along which they lie.
        axes: what the indices of every dimension stand for.
        unit: the group's variable on `axes[dim]`; None where the units are the indices of that axis themselves.
        batch: the variable of the samples, if the model was traced on more than one.
        shared: where `unit` is None, how many neighbouring indices are one unit.
    """

    owner: str
    site: Site
    slot: int
    dim: int
    axes: tuple[Axis, ...]
    unit: Var | None
    batch: Var | None
    shared: int = 1

    @property
    def size(self) -> int:
        """Number of units."""
        return self.unit.size if self.unit else self.axes[self.dim].size // self.shared

    def read(self, x: Tensor, samples: int) -> Tensor:
        """The units in the tensor seen there: [samples, units, ...], a view where possible.

        The other dimensions are the positions of a unit, such as the two of a map; those of size one are left out.

        Raises:
            ValueError: the shape of `x` is not what this number of samples makes of the shape that was traced.
        """
        dim, outer = self._samples(x, samples)
        if self.unit is None:
            units = x.unflatten(self.dim, (-1, self.shared))
        else:
            units = take_units(x, self.dim, self.axes[self.dim], self.unit)
        dim += dim > self.dim
        units = units.unflatten(dim, (outer, samples, -1))
        units = units.movedim((dim + 1, self.dim if self.dim < dim else self.dim + 2), (0, 1))
        return units.reshape(*units.shape[:2], *(size for size in units.shape[2:] if size > 1))

    def _samples(self, x: Tensor, samples: int) -> tuple[int, int]:
        """The dimension that holds the samples, and how many indices of it come before one step from sample to sample.

        Traced on several samples, the axes tell.  Traced on one, it is the dimension that grows with their number.
        """
        traced = self.batch.size if self.batch else 1
        for dim, (axis, size) in enumerate(zip(self.axes, x.shape, strict=True)):
            if dim == self.dim or size * traced != axis.size * samples:
                continue
            factors = axis.factors if isinstance(axis, Product) else (axis,)
            if self.batch is None:
                return dim, 1
            if self.batch in factors:
                return dim, prod(factor.size for factor in factors[: factors.index(self.batch)])
        raise ValueError(f"shape {list(x.shape)} for {samples} samples, traced as {[a.size for a in self.axes]}")


@dataclass(frozen=True, eq=False)
class Group:
    """Units that compete: one per index of one axis, each removed whole from every member.

    Attributes:
        name: the module that makes the units, such as "layer1.0.conv1".
        kind: what a unit is; see `secateurs.structure.kinds`.
        size: number of units.
        members: where they lie in parameters and buffers.
        after: where they can be seen after their non-linearity (where they are used, if they pass none).
        activations: where they can be seen before and after each non-linearity that they pass.
        inexact: why removal changes what the remaining units compute, or None if it does not.
        var: the group's variable in the axes of the structure.
        least: how many units must be left.
    """

    name: str
    kind: str
    size: int
    members: tuple[Member, ...]
    after: tuple[Tap, ...]
    activations: tuple[tuple[Tap, Tap], ...]
    inexact: str | None
    var: Var
    least: int = 1

    def modules(self, consumed: bool) -> str:
        """The modules that use the units (consumed) or make and transform them, for people to read."""
        names = (member.tensor.rpartition(".")[0] for member in self.members if member.consumed == consumed)
        return ", ".join(dict.fromkeys(name or "model" for name in names))
