"""Contractions: which entries of a weight belong to which input feature and to which output."""

import pytest
import torch
from support.models import Apply
from torch import nn

import secateurs as sc

MAPS, ROWS = (2, 4, 6, 6), (2, 5)
WEIGHTS = {
    "linear": (nn.Linear(5, 3), ROWS, 0),
    "transposed linear": (Apply(lambda m, x: x @ m.inner.weight, inner=nn.Linear(3, 5)), ROWS, 1),
    "flattened maps": (nn.Sequential(nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(96, 3)), MAPS, 0),
    "convolution": (nn.Conv2d(4, 6, 3), MAPS, 0),
    "grouped convolution": (nn.Conv2d(4, 6, 3, groups=2), MAPS, 0),
    "transposed convolution": (nn.ConvTranspose2d(4, 6, 3), MAPS, 1),
}
"""A module, the shape of its inputs, and the dimension of its last weight that holds the outputs."""


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("name", WEIGHTS)
def test_matrices_of_weights_keep_entries_and_outputs_together(name, alike):
    module, shape, out = WEIGHTS[name]
    last = sc.trace(module, torch.randn(shape)).contractions[-1]
    contraction = last.alike if alike else last
    weight = torch.randn_like(module.get_parameter(contraction.weight))
    matrix = contraction.matrix(weight)
    torch.testing.assert_close(contraction.fold(matrix, weight), weight)
    others = [dim for dim in range(weight.ndim) if dim != out]
    torch.testing.assert_close(contraction.per_output(matrix, weight), weight.sum(others))
    factors = torch.arange(1.0, weight.shape[out] + 1)
    scaled = weight * factors.reshape([-1 if dim == out else 1 for dim in range(weight.ndim)])
    torch.testing.assert_close(matrix * contraction.by_output(factors, weight), contraction.matrix(scaled))
