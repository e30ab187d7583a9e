"""The ResNets of He et al. for CIFAR-10, with the weights of ../shared (see its DATA.md)."""

from __future__ import annotations

import safetensors.torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.shared import SHARED

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the images that the weights were trained on."""


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
