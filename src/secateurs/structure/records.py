"""The entries of the record of a trace: observable tensors, activations, sums and sizes."""

from __future__ import annotations

from typing import NamedTuple

from secateurs.structure.axis import Axis
from secateurs.structure.dispatch import Site
from secateurs.structure.window import Window

OUTPUT = -1
"""The slot of the first result of an operator; the second result has slot -2, and so on."""


class Source(NamedTuple):
    """A tensor that can be observed: an argument or a result of an operator call.

    Attributes:
        site: the operator call.
        slot: the position of the argument; `OUTPUT` and below for results.
        axes: one axis per dimension.
    """

    site: Site
    slot: int
    axes: tuple[Axis, ...]


class Activation(NamedTuple):
    """A non-linearity in the path of the data.

    Attributes:
        before: the argument.
        after: the result.
        can_close: whether the result may be zero or negative, so that it can suppress a factor that it multiplies.
    """

    before: Source
    after: Source
    can_close: bool


class Arrival(NamedTuple):
    """The place where the outputs of a layer are added to other data or enter an activation.

    Attributes:
        part: the outputs of the layer at this place, up to a scale and a shift of each feature.
        whole: the sum; for an activation the same as `part`.
    """

    part: Source
    whole: Source


class Provenance(NamedTuple):
    """The operators in the path of the units of a tensor.

    Attributes:
        activation: the last activation; None if the units were mixed with other data after it.
        gate: the activation of a gate that multiplied the units after that, elementwise.
        origin: the result of the last operator that was neither elementwise nor a change of layout.
        attended: the origin of the values, if the tensor comes from an attention.
        layer: the layer with these outputs; None if more than a scale and a shift of each feature followed.
    """

    activation: Activation | None = None
    gate: Activation | None = None
    origin: Source | None = None
    attended: Source | None = None
    layer: Site | None = None


NO_PROVENANCE = Provenance()


class Consumption(NamedTuple):
    """A sum over an axis of data, usually of products with a weight.

    Attributes:
        axis: the axis that the operator sums over.
        operand: the argument that holds the data.
        dim: the dimension of the operand that the operator sums over.
        provenance: the provenance of the operand.
        weight: the (name, dimension) of the parameter that multiplies the operand; None if no parameter does.
        window: the geometry of the kernel, for convolutions.
    """

    axis: Axis
    operand: Source
    dim: int
    provenance: Provenance
    weight: tuple[str, int] | None
    window: Window | None = None


class SizeUse(NamedTuple):
    """A module that may store the size of an axis in an attribute.

    Attributes:
        module: the name of the module.
        name: the name of the attribute; None means any attribute with the value of the size.
        axis: the axis.
    """

    module: str
    name: str | None
    axis: Axis
