"""Small networks for images and vectors, each with one kind of wiring that a pruner has to follow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.layers import classifier, conv


class Concat(nn.Module):
    """Two branches side by side."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.join = conv(3, 6), conv(3, 10), conv(16, 8)
        self.head = classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.join(torch.cat([self.left(x), self.right(x)], 1)))


class CascadedConcat(nn.Module):
    """Every concatenation is part of the next one."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 6)
        self.grow = nn.ModuleList(conv(6 + 4 * i, 4) for i in range(3))
        self.head = classifier(18)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.grow:
            x = torch.cat([x, layer(x)], 1)
        return self.head(x)


class Split(nn.Module):
    """Uneven parts of one layer's output go different ways; two even chunks meet in a product."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = conv(3, 16), conv(4, 8), conv(12, 16)
        self.head = classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        first, second = torch.split(self.stem(x), [4, 12], 1)
        gate, value = self.second(second).chunk(2, 1)
        return self.head(self.first(first) + gate * value)


class ConcatSplit(nn.Module):
    """The cuts of a split do not fall on the seams of the concatenation before it."""

    def __init__(self):
        super().__init__()
        self.sources = nn.ModuleList(conv(3, width) for width in (4, 6, 8))
        self.sinks = nn.ModuleList(conv(width, 5) for width in (7, 3, 8))
        self.head, self.widths = classifier(5), [7, 3, 8]

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.cat([source(x) for source in self.sources], 1).split(self.widths, 1)
        return self.head(sum(sink(part) for sink, part in zip(self.sinks, parts, strict=True)))


class UnwrappedParameters(nn.Module):
    """Parameters of the model itself: a class token, positions, a layer scale and a bare matrix."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 17, 16))
        self.norm, self.hidden, self.back = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)
        self.scale = nn.Parameter(torch.rand(16))
        self.matrix = nn.Parameter(torch.randn(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        x = x + self.scale * self.back(F.gelu(self.hidden(self.norm(x))))
        return x.mean(1) @ self.matrix


class ManyInputsOutputs(nn.Module):
    """Two inputs, two outputs: as a tuple or as a nested dict."""

    def __init__(self, as_dict: bool):
        super().__init__()
        self.as_dict = as_dict
        self.see, self.read = conv(3, 12), nn.Linear(20, 12)
        self.both = nn.Linear(12, 16)
        self.label, self.value = nn.Linear(16, 10), nn.Linear(16, 1)

    def forward(self, image: Tensor, features: Tensor) -> tuple | dict:
        x = self.see(image).mean((2, 3)) + F.relu(self.read(features))
        x = F.relu(self.both(x))
        label, value = self.label(x), self.value(x)
        return {"label": label, "more": {"value": value}} if self.as_dict else (label, value)


class NonFeatureConcat(nn.Module):
    """Concatenation along height joins channels one to one instead of stacking them."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.join = conv(3, 8), conv(3, 8), conv(8, 6)
        self.head = classifier(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.join(torch.cat([self.left(x), self.right(x)], 2)))


class Reshape(nn.Module):
    """A linear layer's output becomes feature maps, and those a vector again."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(24, 8 * 16)
        self.up = nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1)
        self.out = nn.Linear(6 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.linear(x)).view(-1, self.up.in_channels, 4, 4)
        return self.out(F.relu(self.up(x)).flatten(1))


class ScaleShift(nn.Module):
    """A layer no library knows: a scale and a shift per channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.rand(channels)), nn.Parameter(torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale[:, None, None] + self.shift.view(1, -1, 1, 1)


class UnusedParameters(nn.Module):
    """A layer, a branch and a bare parameter that no forward pass touches."""

    def __init__(self):
        super().__init__()
        self.body, self.idle = conv(3, 8), conv(8, 8)
        self.head, self.idle_head = classifier(8), nn.Linear(8, 3)
        self.idle_scale = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class RepeatedModule(nn.Module):
    """One block run three times over its own output, and on two image sizes."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = conv(3, 8), conv(8, 8), classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = self.block(x)
        return self.head(x) + self.head(self.block(F.avg_pool2d(x, 2)))


class InPlace(nn.Module):
    """In-place activation, in-place arithmetic, and writing into a slice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        y = self.second(x)
        y += x
        y.mul_(0.5).clamp_(min=-1.0)
        y[:, :, 0] = 0.0
        return self.head(F.relu_(y))


class SqueezeExcite(nn.Module):
    """Channels weighted by a small network that looks at their averages."""

    def __init__(self, channels: int):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, 6, 1),
            nn.ReLU(),
            nn.Conv2d(6, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)
