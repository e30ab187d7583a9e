"""A small network for MNIST, and the images of ../shared (see its DATA.md)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from benchmarks.shared import load


class Net(nn.Module):
    """Two convolutions with batch norm and a hidden layer, for 28×28 grey images of ten digits."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32)
        self.hidden, self.head = nn.Linear(32 * 49, 64), nn.Linear(64, 10)

    def penultimate(self, x: Tensor) -> Tensor:
        """[N, 1, 28, 28] to the activations of the hidden layer [N, hidden units]."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return functional.relu(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, 28, 28] to class scores [N, 10]."""
        return self.head(self.penultimate(x))


def mnist(split: str, count: int) -> TensorDataset:
    """The first images of ../shared's MNIST, in [0, 1]."""
    images, labels = load().mnist(split)
    return TensorDataset(torch.tensor(images[:count]).float().div(255)[:, None], torch.tensor(labels[:count]).long())
