"""Layers that the small networks of the zoo share."""

from __future__ import annotations

from torch import nn


def conv(inputs: int, outputs: int, **options) -> nn.Sequential:
    """A 3x3 convolution that keeps the size, batch norm and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **options), nn.BatchNorm2d(outputs), nn.ReLU())


def classifier(channels: int) -> nn.Sequential:
    """Average pooling and a linear classifier."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def between(middle: nn.Module, inputs: int = 12, outputs: int = 12) -> nn.Sequential:
    """Put ``middle`` between a convolution and a head, so that what enters and leaves it can be pruned."""
    return nn.Sequential(conv(3, inputs), middle, conv(outputs, 8), classifier(8))
