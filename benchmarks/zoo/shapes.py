"""Small networks, each with one shape of wiring that a pruner has to get right."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from benchmarks.zoo.entry import Entry, entry


def _conv(inputs: int, outputs: int, **options) -> nn.Sequential:
    """A 3x3 convolution that keeps the size, batch norm and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **options), nn.BatchNorm2d(outputs), nn.ReLU())


def _head(channels: int) -> nn.Sequential:
    """Average pooling and a linear classifier."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def _between(middle: nn.Module, inputs: int = 12, outputs: int = 12) -> nn.Sequential:
    """Put ``middle`` between a convolution and a head, so that what enters and leaves it can be pruned."""
    return nn.Sequential(_conv(3, inputs), middle, _conv(outputs, 8), _head(8))


class _Concat(nn.Module):
    """Two branches side by side."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.join = _conv(3, 6), _conv(3, 10), _conv(16, 8)
        self.head = _head(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.join(torch.cat([self.left(x), self.right(x)], 1)))


class _CascadedConcat(nn.Module):
    """Every concatenation is part of the next one."""

    def __init__(self):
        super().__init__()
        self.stem = _conv(3, 6)
        self.grow = nn.ModuleList(_conv(6 + 4 * i, 4) for i in range(3))
        self.head = _head(18)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.grow:
            x = torch.cat([x, layer(x)], 1)
        return self.head(x)


class _Split(nn.Module):
    """Uneven parts of one layer's output go different ways; two even chunks meet in a product."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = _conv(3, 16), _conv(4, 8), _conv(12, 16)
        self.head = _head(8)

    def forward(self, x: Tensor) -> Tensor:
        first, second = torch.split(self.stem(x), [4, 12], 1)
        gate, value = self.second(second).chunk(2, 1)
        return self.head(self.first(first) + gate * value)


class _ConcatSplit(nn.Module):
    """The cuts of a split do not fall on the seams of the concatenation before it."""

    def __init__(self):
        super().__init__()
        self.sources = nn.ModuleList(_conv(3, width) for width in (4, 6, 8))
        self.sinks = nn.ModuleList(_conv(width, 5) for width in (7, 3, 8))
        self.head, self.widths = _head(5), [7, 3, 8]

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.cat([source(x) for source in self.sources], 1).split(self.widths, 1)
        return self.head(sum(sink(part) for sink, part in zip(self.sinks, parts, strict=True)))


class _UnwrappedParameters(nn.Module):
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


class _ManyInputsOutputs(nn.Module):
    """Two inputs, two outputs: as a tuple or as a nested dict."""

    def __init__(self, as_dict: bool):
        super().__init__()
        self.as_dict = as_dict
        self.see, self.read = _conv(3, 12), nn.Linear(20, 12)
        self.both = nn.Linear(12, 16)
        self.label, self.value = nn.Linear(16, 10), nn.Linear(16, 1)

    def forward(self, image: Tensor, features: Tensor) -> tuple | dict:
        x = self.see(image).mean((2, 3)) + F.relu(self.read(features))
        x = F.relu(self.both(x))
        label, value = self.label(x), self.value(x)
        return {"label": label, "more": {"value": value}} if self.as_dict else (label, value)


class _NonFeatureConcat(nn.Module):
    """Concatenation along height joins channels one to one instead of stacking them."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.join = _conv(3, 8), _conv(3, 8), _conv(8, 6)
        self.head = _head(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.join(torch.cat([self.left(x), self.right(x)], 2)))


class _Reshape(nn.Module):
    """A linear layer's output becomes feature maps, and those a vector again."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(24, 8 * 16)
        self.up = nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1)
        self.out = nn.Linear(6 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.linear(x)).view(-1, self.up.in_channels, 4, 4)
        return self.out(F.relu(self.up(x)).flatten(1))


class _ScaleShift(nn.Module):
    """A layer no library knows: a scale and a shift per channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.rand(channels)), nn.Parameter(torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale[:, None, None] + self.shift.view(1, -1, 1, 1)


class _UnusedParameters(nn.Module):
    """A layer, a branch and a bare parameter that no forward pass touches."""

    def __init__(self):
        super().__init__()
        self.body, self.idle = _conv(3, 8), _conv(8, 8)
        self.head, self.idle_head = _head(8), nn.Linear(8, 3)
        self.idle_scale = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class _SharedModule(nn.Module):
    """One weight under two names (embedding and output) and one layer in two branches."""

    def __init__(self):
        super().__init__()
        self.embed, self.hidden, self.out = nn.Embedding(30, 16), nn.Linear(16, 24), nn.Linear(24, 16)
        self.first = self.second = nn.Linear(16, 16)
        self.vocabulary = nn.Linear(16, 30)
        self.vocabulary.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.out(F.relu(self.hidden(self.embed(ids))))
        return self.vocabulary(self.first(x) + F.relu(self.second(F.relu(x))))


class _RepeatedModule(nn.Module):
    """One block run three times over its own output, and on two image sizes."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = _conv(3, 8), _conv(8, 8), _head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = self.block(x)
        return self.head(x) + self.head(self.block(F.avg_pool2d(x, 2)))


class _InPlace(nn.Module):
    """In-place activation, in-place arithmetic, and writing into a slice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), _head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        y = self.second(x)
        y += x
        y.mul_(0.5).clamp_(min=-1.0)
        y[:, :, 0] = 0.0
        return self.head(F.relu_(y))


class _LSTM(nn.Module):
    """A two-layer bidirectional LSTM between an embedding and a linear layer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.lstm = nn.LSTM(16, 12, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(24, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(ids))[0])


class _Experts(nn.Module):
    """A gated mixture of experts with stacked weights: top two of four, looked up per token."""

    def __init__(self):
        super().__init__()
        self.top_k, self.router = 2, nn.Linear(16, 4, bias=False)
        self.up, self.down = (nn.Parameter(0.3 * torch.randn(4, *size)) for size in ((16, 24), (24, 16)))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        weights, chosen = self.router(rows).softmax(-1).topk(self.top_k, -1)
        inner = torch.einsum("nd,nkdf->nkf", rows, self.up[chosen]).relu()
        out = torch.einsum("nkf,nkfd->nkd", inner, self.down[chosen])
        return (out * weights.unsqueeze(-1)).sum(1).view_as(x)


class _MultiheadAttention(nn.Module):
    """nn.MultiheadAttention and an MLP, both with a residual."""

    def __init__(self):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(32), nn.MultiheadAttention(32, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.out = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.out(x + self.mlp(x))


class _FusedAttention(nn.Module):
    """Queries, keys and values of one linear layer, its rows ordered 3·H·D or H·3·D."""

    def __init__(self, heads_first: bool):
        super().__init__()
        self.heads, self.size, self.heads_first = 4, 8, heads_first
        self.embed, self.norm = nn.Linear(20, 32), nn.LayerNorm(32)
        self.qkv, self.project = nn.Linear(32, 96), nn.Linear(32, 32)
        self.out = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        batch, length, _ = x.shape
        qkv = self.qkv(self.norm(x))
        if self.heads_first:
            qkv = qkv.view(batch, length, self.heads, 3, self.size).permute(3, 0, 2, 1, 4)
        else:
            qkv = qkv.view(batch, length, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        mixed = F.softmax(query @ key.transpose(-2, -1) * self.size**-0.5, -1) @ value
        return self.out(x + self.project(mixed.transpose(1, 2).reshape(batch, length, -1)))


class _SqueezeExcite(nn.Module):
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


def _fully_connected() -> nn.Module:
    first = [nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU()]
    return nn.Sequential(*first, nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 5))


def _flatten_conv() -> nn.Module:
    body = [_conv(3, 8), nn.MaxPool2d(4), _conv(8, 6)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(6 * 16, 24), nn.ReLU(), nn.Linear(24, 10))


def _conv_1d() -> nn.Module:
    body = [nn.Conv1d(4, 12, 5, padding=2), nn.BatchNorm1d(12), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(12, 8, 3)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(16, 5))


def _conv_3d() -> nn.Module:
    body = [nn.Conv3d(2, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 6, 3)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 5))


def _depthwise() -> nn.Module:
    separable = [nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.BatchNorm2d(12), nn.ReLU6(), nn.Conv2d(12, 16, 1)]
    multiplied = [nn.Conv2d(16, 32, 3, padding=1, groups=16), nn.ReLU6(), nn.Conv2d(32, 12, 1)]
    return _between(nn.Sequential(*separable, *multiplied))


def _single_channel_output() -> nn.Module:
    return nn.Sequential(_conv(3, 8), nn.Conv2d(8, 16, 2, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 3))


def _transposed_conv() -> nn.Module:
    plain = [nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    return _between(nn.Sequential(*plain, nn.ConvTranspose2d(8, 12, 3, groups=4)))


def _weight_norm() -> nn.Module:
    return _between(nn.Sequential(weight_norm(nn.Conv2d(12, 16, 3)), nn.ReLU(), weight_norm(nn.Conv2d(16, 12, 1))))


def _normal(*size: int) -> tuple:
    """One random tensor."""
    return (torch.randn(size),)


def _ids() -> tuple:
    """A batch of token sequences below 30."""
    return (torch.randint(30, (2, 9)),)


def _image_and_features() -> dict:
    """Two inputs by keyword."""
    return {"image": torch.randn(2, 3, 16, 16), "features": torch.randn(2, 20)}


_IMAGE = partial(_normal, 2, 3, 16, 16)
_VECTORS = partial(_normal, 2, 20)
_SEQUENCE = partial(_normal, 2, 7, 20)

ENTRIES: list[Entry] = [
    entry(name, "shapes", construct, inputs)
    for name, construct, inputs in (
        ("fully_connected", _fully_connected, _VECTORS),
        ("concat", _Concat, _IMAGE),
        ("cascaded_concat", _CascadedConcat, _IMAGE),
        ("split", _Split, _IMAGE),
        ("concat_split", _ConcatSplit, _IMAGE),
        ("non_feature_concat", _NonFeatureConcat, _IMAGE),
        ("unwrapped_parameters", _UnwrappedParameters, _IMAGE),
        ("unused_parameters", _UnusedParameters, _IMAGE),
        ("inputs_outputs_tuple", partial(_ManyInputsOutputs, False), lambda: tuple(_image_and_features().values())),
        ("inputs_outputs_dict", partial(_ManyInputsOutputs, True), _image_and_features),
        ("reshape", _Reshape, partial(_normal, 2, 24)),
        ("flatten_conv", _flatten_conv, _IMAGE),
        ("pixel_shuffle", lambda: _between(nn.PixelShuffle(2), 16, 4), _IMAGE),
        ("custom_layer", lambda: _between(_ScaleShift(12)), _IMAGE),
        ("single_channel_output", _single_channel_output, _IMAGE),
        ("shared_module", _SharedModule, _ids),
        ("repeated_module", _RepeatedModule, _IMAGE),
        ("in_place", _InPlace, _IMAGE),
        ("grouped_conv", lambda: _between(_conv(12, 24, groups=4), 12, 24), _IMAGE),
        ("depthwise_conv", _depthwise, _IMAGE),
        ("transposed_conv", _transposed_conv, _IMAGE),
        ("conv_1d", _conv_1d, partial(_normal, 2, 4, 32)),
        ("conv_3d", _conv_3d, partial(_normal, 2, 2, 8, 8, 8)),
        ("group_norm", lambda: _between(nn.GroupNorm(4, 12)), _IMAGE),
        ("instance_norm", lambda: _between(nn.InstanceNorm2d(12, affine=True)), _IMAGE),
        ("prelu", lambda: _between(nn.PReLU(12)), _IMAGE),
        ("glu", lambda: _between(nn.GLU(1), 24, 12), _IMAGE),
        ("squeeze_excite", lambda: _between(_SqueezeExcite(12)), _IMAGE),
        ("weight_norm", _weight_norm, _IMAGE),
        ("lstm", _LSTM, _ids),
        ("experts", _Experts, partial(_normal, 2, 7, 16)),
        ("multihead_attention", _MultiheadAttention, partial(_normal, 2, 7, 32)),
        ("fused_qkv_3hd", partial(_FusedAttention, False), _SEQUENCE),
        ("fused_qkv_h3d", partial(_FusedAttention, True), _SEQUENCE),
    )
]
