"""Operands: the weights that sum over the units of a group, each with a statistic of the inputs that it multiplies."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from secateurs.structure import Contraction


class Operand(NamedTuple):
    """A weight that sums over the units of a group, and a statistic of the inputs that it multiplies.

    Attributes:
        weight: the weight as a matrix, float64 [features, outputs].
        units: the indices of the features of each unit, int64 [units, features per unit].
        statistic: the requested statistic of the inputs, with one value per feature.
        contraction: the operator call that multiplies the weight with the inputs.
        bias: whether the layer has a bias.
        value: the weight in the shape of the parameter.
    """

    weight: Tensor
    units: Tensor
    statistic: Any
    contraction: Contraction
    bias: bool
    value: Tensor
