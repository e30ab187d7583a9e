"""A training that uses all random generators, for tests of checkpoints."""

import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class NoisyLayer(nn.Module):
    """Uses the random generators of Python and NumPy, and has a buffer that is not persistent."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x):
        self.calls += 1
        noise = random.gauss(0, 0.01) + np.random.normal(0, 0.01) if self.training else 0.0
        return x * (1 + noise) + self.calls * 1e-4


def random_network():
    """A network with dropout and noise, with the same weights each time."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), NoisyLayer(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(96, 4)
    )


def image_loader(count=40, shuffle=True):
    """Labelled images in batches of eight, shuffled by a generator of the loader."""
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(count, 3, 6, 6, generator=generator), torch.randint(4, (count,), generator=generator)
    return DataLoader(TensorDataset(x, y), 8, shuffle=shuffle, generator=torch.Generator().manual_seed(9))


def copy_tensors(model):
    """Copies of all parameters and buffers, including those that are not persistent."""
    return {name: tensor.clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
