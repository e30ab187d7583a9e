"""Small models of the classical families, one per thing that can go wrong, each with example inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Apply(nn.Module):
    """Modules by name, and a function of (self, *inputs) that says how they are run."""

    def __init__(self, run: Callable, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *inputs: Tensor, **named: Tensor):
        return self.run(self, *inputs, **named)


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.down is None else self.down(x)))


class PaddedShortcut(nn.Module):
    """The parameter-free shortcut of the CIFAR ResNets: every second pixel, zero channels on both sides."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.head = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 16, 3, 2, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))
        return self.head(x.mean((2, 3)))


class Dense(nn.Module):
    """Concatenation that grows, as in DenseNet."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(6 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.head = nn.Linear(18, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(F.relu(norm(torch.cat(features, 1)))))
        return self.head(torch.cat(features, 1).amax((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3)
        self.reduce, self.expand = nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        gate = self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1).flatten(1)))).sigmoid()
        return self.out(x * gate[:, :, None, None].expand_as(x))


class Bare(nn.Module):
    """Parameters used without modules, a layer scale, and a parameter that is used nowhere."""

    def __init__(self):
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(10, 6)), nn.Parameter(torch.randn(10))
        self.scale, self.w2 = nn.Parameter(torch.randn(10)), nn.Parameter(torch.randn(10, 4))
        self.unused = nn.Parameter(torch.randn(7, 3))
        self.register_buffer("shift", torch.randn(10))

    def forward(self, x: Tensor) -> Tensor:
        return (F.gelu(F.linear(x, self.w1, self.b1)) * self.scale + self.shift) @ self.w2


class StaleSize(nn.Module):
    """Keeps a width in an attribute of its own, and uses it in a view."""

    def __init__(self):
        super().__init__()
        self.width = 6
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        return self.head(x.view(len(x), self.width, -1).transpose(1, 2).reshape(len(x), -1))


class HeldSizes(nn.Module):
    """Keeps widths in a list, a shape in a tuple, and a number of heads that it makes a tensor with."""

    def __init__(self):
        super().__init__()
        self.widths, self.shape, self.heads = [4, 6], (8, 1), 4
        self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 6)
        self.c, self.d, self.scale = nn.Linear(4, 8), nn.Linear(6, 8), nn.Parameter(torch.randn(8))
        self.q, self.k, self.v, self.out = nn.Linear(6, 12), nn.Linear(6, 12), nn.Linear(6, 12), nn.Linear(12, 5)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        left, right = torch.cat([self.a(x), self.b(x)], -1).relu().split(self.widths, -1)
        sums = (self.c(left) + self.d(right)).transpose(1, 2) * self.scale.view(self.shape)
        q, k, v = (f(x).view(n, length, self.heads, 3).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = q @ k.transpose(-2, -1) + torch.zeros(n, self.heads, length, length, dtype=x.dtype, device=x.device)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, -1)
        return self.out(mixed) + self.last(sums.transpose(1, 2))


class HardCoded(nn.Module):
    """Holds a width in its code, where nobody can change it: that group must stay, the other may go."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 12), nn.Linear(12, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.second(F.relu(self.first(x)).view(-1, 12))))


class Shared(nn.Module):
    """One module called twice, and one weight under two names."""

    def __init__(self):
        super().__init__()
        self.enter, self.twice, self.leave = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 5)
        self.also = nn.Linear(8, 8)
        self.also.weight = self.twice.weight

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.enter(x))
        return self.leave(F.relu(self.also(F.relu(self.twice(F.relu(self.twice(x)))))))


def _shuffle(m, x):
    x = F.relu(m.a(x))
    n, c, h, w = x.shape
    return m.c(F.relu(m.b(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)))).mean((2, 3))


def _split(m, x):
    left, right = F.relu(m.a(x)).chunk(2, 1)
    return m.c(torch.cat([m.b(left), right], 1)).mean((2, 3))


def _split_sizes(m, x):
    left, right = m.a(x).relu().split([3, 5], 1)
    return m.c(torch.cat([right, m.b(left)], 1)).flatten(2).sum(2)


def _cube(m, x):
    return m.b(F.relu(m.a(x), inplace=True).unsqueeze(1).squeeze(1)).mean((2, 3, 4))


def _inputs(m, x, y):
    h = torch.relu(m.a(x) + m.b(y))
    return {"scores": m.c(h), "more": (m.d(h), [h.new_zeros(2)])}


def _recurrent(m, x):
    return m.out(m.rnn(m.enter(x))[0])


def _pixel(m, x):
    return m.c(F.pixel_shuffle(F.relu(m.a(x)), 2)).mean((2, 3))


def _stack(m, x):
    return m.c(torch.stack([m.a(x), m.b(x)]).relu().sum(0))


def _glu(m, x):
    return m.b(F.glu(m.a(x), -1))


def _gated(m, x):
    gate, value = m.a(x).chunk(2, -1)
    return m.b(F.silu(gate) * value)


IMAGE = (2, 3, 8, 8)


def build(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A model with random weights and statistics, in float64 evaluation mode, and its inputs."""
    torch.manual_seed(0)
    model, *shapes = FAMILIES[name]()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.double().eval(), tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)


def seq(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


FAMILIES: dict[str, Callable] = {
    "mlp": lambda: (seq(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 5)), (4, 6)),
    "mlp on tokens": lambda: (seq(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 7, bias=False), nn.Linear(7, 5)), (2, 3, 6)),
    "vgg": lambda: (
        seq(nn.Conv2d(3, 8, 3), nn.ReLU(True), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(6, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 5)), IMAGE),
    "flatten with positions": lambda: (
        seq(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)), IMAGE),
    "residual": lambda: (
        seq(nn.Conv2d(3, 8, 3), Residual(8, 8), Residual(8, 12, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(12, 5)), IMAGE),
    "padded shortcut": lambda: (PaddedShortcut(), IMAGE),
    "dense": lambda: (Dense(), IMAGE),
    "squeeze-excite": lambda: (SqueezeExcite(), IMAGE),
    "depthwise": lambda: (
        seq(nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.Hardswish(),
            nn.Conv2d(8, 5, 1)), IMAGE),
    "depth multiplier": lambda: (
        seq(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 12, 3, groups=6), nn.ReLU(), nn.Conv2d(12, 5, 1)), IMAGE),
    "grouped": lambda: (
        seq(nn.Conv2d(3, 12, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, groups=4), nn.ReLU(), nn.Conv2d(16, 5, 1)), IMAGE),
    "transposed": lambda: (
        seq(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 12, 2, 2), nn.ReLU(),
            nn.ConvTranspose2d(12, 8, 3, groups=2), nn.LeakyReLU(), nn.Conv2d(8, 5, 1)), IMAGE),
    "1-d": lambda: (
        seq(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ELU(), nn.AvgPool1d(2), nn.Conv1d(8, 5, 1)), (2, 3, 9)),
    "3-d": lambda: (Apply(_cube, a=nn.Conv3d(2, 6, 3), b=nn.Conv3d(6, 4, 1)), (2, 2, 5, 5, 5)),
    "layer norm": lambda: (seq(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(),
                               nn.Linear(6, 5)), (4, 6)),
    "group norm": lambda: (
        seq(nn.Conv2d(3, 12, 3), nn.GroupNorm(4, 12), nn.SiLU(), nn.Conv2d(12, 8, 3), nn.GroupNorm(8, 8), nn.Mish(),
            nn.Conv2d(8, 5, 1)), IMAGE),
    "instance norm": lambda: (
        seq(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), nn.Conv2d(8, 5, 3)), IMAGE),
    "batch norm without weights": lambda: (
        seq(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False), nn.Sigmoid(), nn.Conv2d(8, 5, 3)), IMAGE),
    "prelu": lambda: (seq(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 6, 1), nn.PReLU(), nn.Conv2d(6, 5, 1)), IMAGE),
    "bare parameters": lambda: (Bare(), (4, 6)),
    "stale size": lambda: (StaleSize(), IMAGE),
    "held sizes": lambda: (HeldSizes(), (2, 3, 6)),
    "shared": lambda: (Shared(), (4, 6)),
    "chunk": lambda: (Apply(_split, a=nn.Conv2d(3, 12, 1), b=nn.Conv2d(6, 4, 1), c=nn.Conv2d(10, 5, 1)), IMAGE),
    "several inputs and outputs": lambda: (
        Apply(_inputs, a=nn.Linear(6, 8), b=nn.Linear(4, 8), c=nn.Linear(8, 5), d=nn.Linear(8, 1)), (3, 6), (3, 4)),
    "lstm": lambda: (
        Apply(_recurrent, enter=nn.Linear(5, 6), rnn=nn.LSTM(6, 8, 2, bidirectional=True), out=nn.Linear(16, 3)),
        (7, 2, 5)),
    "gru": lambda: (
        Apply(_recurrent, enter=nn.Linear(5, 6), rnn=nn.GRU(6, 8, batch_first=True), out=nn.Linear(8, 3)), (2, 7, 5)),
    "pixel shuffle": lambda: (Apply(_pixel, a=nn.Conv2d(3, 24, 1), c=nn.Conv2d(6, 5, 1)), IMAGE),
    "stack": lambda: (Apply(_stack, a=nn.Linear(6, 8), b=nn.Linear(6, 8), c=nn.Linear(8, 5)), (4, 6)),
    "glu": lambda: (Apply(_glu, a=nn.Linear(6, 16), b=nn.Linear(8, 5)), (4, 6)),
    "gated": lambda: (Apply(_gated, a=nn.Linear(6, 16), b=nn.Linear(8, 5)), (4, 6)),
    "upsample": lambda: (
        seq(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), nn.ReflectionPad2d(1),
            nn.Conv2d(8, 5, 1)), IMAGE),
}  # fmt: skip
"""Models in which every group can be removed, exactly or not."""

PARTLY: dict[str, Callable] = {
    "channel shuffle": lambda: (
        Apply(_shuffle, a=nn.Conv2d(3, 12, 1), b=nn.Conv2d(12, 8, 3, groups=2), c=nn.Conv2d(8, 5, 1)), IMAGE),
    "hard-coded": lambda: (HardCoded(), (4, 6)),
    "split with sizes": lambda: (
        Apply(_split_sizes, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(3, 4, 1), c=nn.Conv2d(9, 5, 1)), IMAGE),
}  # fmt: skip
"""Models whose own code holds a size, so that some groups must stay."""

FAMILIES.update(PARTLY)
