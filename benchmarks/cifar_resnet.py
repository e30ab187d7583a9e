"""The ResNets of He et al. for CIFAR-10, with the weights and images of ../shared (see its DATA.md)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

SHARED = Path(os.environ.get("SECATEURS_DATA") or Path(__file__).parents[2] / "shared" / "data")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Two convolutions; the shortcut between stages takes every second pixel and pads channels with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.padding = outputs // 4 if stride > 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.padding:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return functional.relu(y + x)


class CifarResNet(nn.Module):
    """Three stages of 16, 32 and 64 channels with `blocks` blocks each: 3 for ResNet-20, 9 for ResNet-56."""

    def __init__(self, blocks: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(*(Block(32 if k else 16, 32, 1 if k else 2) for k in range(blocks)))
        self.layer3 = nn.Sequential(*(Block(64 if k else 32, 64, 1 if k else 2) for k in range(blocks)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 32, 32] to class scores [N, 10]."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def resnet(depth: int) -> CifarResNet:
    """ResNet-20 or ResNet-56, trained."""
    model = CifarResNet((depth - 2) // 6)
    model.load_state_dict(safetensors.torch.load_file(SHARED / "weights" / f"resnet{depth}-cifar10.safetensors"))
    return model.eval()


def cifar10(
    split: str, count: int | None = None, seed: int = 0, batch_size: int = 256, shuffle: bool = False
) -> DataLoader:
    """Images of CIFAR-10, normalised as the weights expect: `count` of them chosen by the seed, or all."""
    sys.path.insert(0, str(SHARED))
    import load  # type: ignore[import-not-found]

    images, labels = load.cifar10(split)
    chosen = np.arange(len(images)) if count is None else np.random.default_rng(seed).permutation(len(images))[:count]
    x = torch.tensor(np.asarray(images)[chosen]).float().div(255)
    x = x.movedim(-1, 1) if x.shape[-1] == 3 else x
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    data = TensorDataset(x, torch.tensor(np.asarray(labels)[chosen]).long())
    return DataLoader(data, batch_size, shuffle=shuffle, generator=torch.Generator().manual_seed(seed))
