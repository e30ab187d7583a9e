"""What a trace writes down as axes flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from secateurs.structure.axis import Axis
from secateurs.structure.dispatch import Site
from secateurs.structure.window import Window

OUTPUT = -1
"""The slot of an operator's first result; others have those below."""


class Source(NamedTuple):
    """A tensor that can be observed: an argument (by position) of the operator at `site`, or a result."""

    site: Site
    slot: int
    axes: tuple[Axis, ...]


class Activation(NamedTuple):
    """What goes into a non-linearity and what comes out of it; `closes` says that this may be zero or less."""

    before: Source
    after: Source
    closes: bool


class Arrival(NamedTuple):
    """What a layer puts out, up to a scale and a shift of each feature, and what becomes of it.

    Attributes:
        part: as it is added to other data, or goes into a non-linearity.
        whole: the sum; or what goes into the non-linearity.
    """

    part: Source
    whole: Source


class Passed(NamedTuple):
    """What a tensor's units have passed.

    Attributes:
        activation: the latest non-linearity, unless they were mixed with other data since.
        gate: that of what they were multiplied with since, position by position.
        made: the result of the latest operator that did more than change each value by itself or lay out values anew.
        attended: the same for the values of the attention that it comes from.
        layer: whose output it is, if each feature was scaled and shifted since at most.
    """

    activation: Activation | None = None
    gate: Activation | None = None
    made: Source | None = None
    attended: Source | None = None
    layer: Site | None = None


NOTHING = Passed()


class Consumption(NamedTuple):
    """A contraction of `axis`.

    Attributes:
        axis: what is summed over.
        operand: where what is summed can be read.
        dim: the dimension of the operand that holds the axis.
        passed: what the operand has passed.
        weight: (name, dimension) of the parameter that it is multiplied with, if it is one.
        window: what a convolution's kernel looks at.
    """

    axis: Axis
    operand: Source
    dim: int
    passed: Passed
    weight: tuple[str, int] | None
    window: Window | None = None


class SizeUse(NamedTuple):
    """A module used the size of `axis`: as its attribute `name` or, where that is None, in its own code."""

    module: str
    name: str | None
    axis: Axis


@dataclass
class Seen:
    """What is known of one tensor.

    Attributes:
        axes: one per dimension.
        constant: whether it depends on parameters and buffers alone.
        passed: what it has passed on its way.
        name: its own, if it is a parameter or buffer.
        order: where rows were sorted in whose order its own are.
    """

    axes: tuple[Axis, ...]
    constant: bool
    passed: Passed = NOTHING
    name: str | None = None
    order: Site | None = None
