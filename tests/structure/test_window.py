"""Windows: the patches of a convolution's input, so that the convolution is a product with them."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from secateurs.structure.window import MOST, Window, window

CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)


@settings(max_examples=100)
@given(st.integers(1, 3), st.data())
def test_a_convolution_is_its_weight_times_the_patches(dims, data):
    def numbers(low, high):
        return data.draw(st.lists(st.integers(low, high), min_size=dims, max_size=dims))

    kernel, stride, padding, dilation = numbers(1, 3), numbers(1, 2), numbers(1, 2), numbers(1, 2)
    x = torch.randn(2, 3, *[5, 4, 3][:dims], dtype=torch.float64)
    weight = torch.randn(4, 3, *kernel, dtype=torch.float64)
    with patch("secateurs.structure.window.MOST", 10_000):  # all positions
        patches = Window(*map(tuple, (kernel, stride, padding, dilation))).patches(x)
    expected = CONVOLUTIONS[dims - 1](x, weight, None, tuple(stride), tuple(padding), tuple(dilation))
    torch.testing.assert_close(weight.flatten(1) @ patches, expected.flatten(2))


def test_patches_of_large_maps_are_taken_at_evenly_spaced_positions():
    x = torch.arange(40.0 * 50).reshape(1, 1, 40, 50)
    patches = window([1, 1], [1], [0], [1]).patches(x)[0, 0]
    assert patches.tolist() == pytest.approx(torch.linspace(0, 1999, MOST).round().tolist())
    wide = window([3, 3], [1, 1], [1, 1], [1, 1]).patches(x)
    assert wide.shape == (1, 9, MOST)
    assert wide[0, 4].tolist() == patches.tolist()  # the middle of the kernel
