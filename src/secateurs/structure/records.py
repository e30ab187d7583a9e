"""What a trace writes down as axes flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from secateurs.structure.axis import Axis
from secateurs.structure.sites import Site

OUTPUT = -1
"""The slot of an operator's result."""


class Source(NamedTuple):
    """A tensor that can be observed: an argument (by position) of the operator at `site`, or its output."""

    site: Site
    slot: int
    axes: tuple[Axis, ...]


class Activation(NamedTuple):
    """What goes into a non-linearity and what comes out of it."""

    before: Source
    after: Source


class Consumption(NamedTuple):
    """A contraction of `axis`.

    Attributes:
        axis: what is summed over.
        operand: where what is summed can be read.
        dim: the dimension of the operand that holds the axis.
        activation: the non-linearity that the operand came from, if any.
        weight: (name, dimension) of the parameter that it is multiplied with, if it is one.
    """

    axis: Axis
    operand: Source
    dim: int
    activation: Activation | None
    weight: tuple[str, int] | None


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
        activation: the latest non-linearity on its way.
        name: its own, if it is a parameter or buffer.
    """

    axes: tuple[Axis, ...]
    constant: bool
    activation: Activation | None = None
    name: str | None = None
