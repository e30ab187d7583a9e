"""Operands: the weights that use the units of a group, each with a statistic of its inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from secateurs.structure import Contraction


class Operand(NamedTuple):
    """A weight that sums over the units of a group, and a statistic of its inputs.

    Attributes:
        weight: float64 [features, outputs].
        units: the indices of the features of each unit, int64 [units, features per unit].
        statistic: describes the inputs of the weight, per feature.
        contraction: the operator call in which the weight is multiplied with its inputs.
        bias: whether the layer has a bias.
        value: the weight in the shape of its parameter.
    """

    weight: Tensor
    units: Tensor
    statistic: Any
    contraction: Contraction
    bias: bool
    value: Tensor
