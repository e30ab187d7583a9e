"""The entries of a trace's record: tensors that can be observed, activations, sums and sizes."""

from __future__ import annotations

from typing import NamedTuple

from secateurs.structure.axis import Axis
from secateurs.structure.dispatch import Site
from secateurs.structure.window import Window

OUTPUT = -1
"""The slot of an operator's first result; the second has slot -2, and so on."""


class Source(NamedTuple):
    """A tensor that can be observed: an argument or a result of the operator at `site`.

    Attributes:
        site: where the operator runs.
        slot: the position of the argument, or `OUTPUT` and below for results.
        axes: one per dimension.
    """

    site: Site
    slot: int
    axes: tuple[Axis, ...]


class Activation(NamedTuple):
    """A non-linearity that data passed.

    Attributes:
        before: its argument.
        after: its result.
        can_close: whether its values may be zero or less, so that it shuts off what it is multiplied with.
    """

    before: Source
    after: Source
    can_close: bool


class Arrival(NamedTuple):
    """The outputs of a layer, up to a scale and a shift of each feature, where they meet other data.

    Attributes:
        part: the outputs as they are added to other data, or enter an activation.
        whole: the sum; for an activation the same as `part`.
    """

    part: Source
    whole: Source


class Provenance(NamedTuple):
    """What the units of a tensor have passed.

    Attributes:
        activation: the latest activation, unless the units were mixed with other data since.
        gate: the activation of a gate that the units were multiplied with since, position by position.
        origin: the result of the latest operator that was neither elementwise nor a change of layout.
        attended: the origin of the values of the attention that the tensor comes from.
        layer: the layer whose outputs these are, if each feature was scaled and shifted since at most.
    """

    activation: Activation | None = None
    gate: Activation | None = None
    origin: Source | None = None
    attended: Source | None = None
    layer: Site | None = None


NO_PROVENANCE = Provenance()


class Consumption(NamedTuple):
    """A sum over an axis of data, usually against a weight.

    Attributes:
        axis: what is summed over.
        operand: the argument that holds the data.
        dim: the dimension of the operand that is summed over.
        provenance: what the operand has passed.
        weight: (name, dimension) of the parameter that the operand is multiplied with; None if it is not a parameter.
        window: what a convolution's kernel looks at.
    """

    axis: Axis
    operand: Source
    dim: int
    provenance: Provenance
    weight: tuple[str, int] | None
    window: Window | None = None


class SizeUse(NamedTuple):
    """A module that used the size of `axis`: as its attribute `name`, or in its own code if that is None."""

    module: str
    name: str | None
    axis: Axis
