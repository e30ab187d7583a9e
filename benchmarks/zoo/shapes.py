"""The small networks of the zoo, each with one kind of wiring that a pruner has to follow."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from benchmarks.zoo.entry import Entry, entry
from benchmarks.zoo.image_networks import (
    CascadedConcat,
    Concat,
    ConcatSplit,
    InPlace,
    ManyInputsOutputs,
    NonFeatureConcat,
    RepeatedModule,
    Reshape,
    ScaleShift,
    Split,
    SqueezeExcite,
    UnusedParameters,
    UnwrappedParameters,
)
from benchmarks.zoo.layers import between, conv
from benchmarks.zoo.sequence_networks import (
    LSTM,
    Experts,
    FusedAttention,
    MultiheadAttention,
    SharedModule,
)


def _fully_connected() -> nn.Module:
    first = [nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU()]
    return nn.Sequential(*first, nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 5))


def _flatten_conv() -> nn.Module:
    body = [conv(3, 8), nn.MaxPool2d(4), conv(8, 6)]
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
    return between(nn.Sequential(*separable, *multiplied))


def _single_channel_output() -> nn.Module:
    return nn.Sequential(conv(3, 8), nn.Conv2d(8, 16, 2, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 3))


def _transposed_conv() -> nn.Module:
    plain = [nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    return between(nn.Sequential(*plain, nn.ConvTranspose2d(8, 12, 3, groups=4)))


def _weight_norm() -> nn.Module:
    return between(nn.Sequential(weight_norm(nn.Conv2d(12, 16, 3)), nn.ReLU(), weight_norm(nn.Conv2d(16, 12, 1))))


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
        ("concat", Concat, _IMAGE),
        ("cascaded_concat", CascadedConcat, _IMAGE),
        ("split", Split, _IMAGE),
        ("concat_split", ConcatSplit, _IMAGE),
        ("non_feature_concat", NonFeatureConcat, _IMAGE),
        ("unwrapped_parameters", UnwrappedParameters, _IMAGE),
        ("unused_parameters", UnusedParameters, _IMAGE),
        ("inputs_outputs_tuple", partial(ManyInputsOutputs, False), lambda: tuple(_image_and_features().values())),
        ("inputs_outputs_dict", partial(ManyInputsOutputs, True), _image_and_features),
        ("reshape", Reshape, partial(_normal, 2, 24)),
        ("flatten_conv", _flatten_conv, _IMAGE),
        ("pixel_shuffle", lambda: between(nn.PixelShuffle(2), 16, 4), _IMAGE),
        ("custom_layer", lambda: between(ScaleShift(12)), _IMAGE),
        ("single_channel_output", _single_channel_output, _IMAGE),
        ("shared_module", SharedModule, _ids),
        ("repeated_module", RepeatedModule, _IMAGE),
        ("in_place", InPlace, _IMAGE),
        ("grouped_conv", lambda: between(conv(12, 24, groups=4), 12, 24), _IMAGE),
        ("depthwise_conv", _depthwise, _IMAGE),
        ("transposed_conv", _transposed_conv, _IMAGE),
        ("conv_1d", _conv_1d, partial(_normal, 2, 4, 32)),
        ("conv_3d", _conv_3d, partial(_normal, 2, 2, 8, 8, 8)),
        ("group_norm", lambda: between(nn.GroupNorm(4, 12)), _IMAGE),
        ("instance_norm", lambda: between(nn.InstanceNorm2d(12, affine=True)), _IMAGE),
        ("prelu", lambda: between(nn.PReLU(12)), _IMAGE),
        ("glu", lambda: between(nn.GLU(1), 24, 12), _IMAGE),
        ("squeeze_excite", lambda: between(SqueezeExcite(12)), _IMAGE),
        ("weight_norm", _weight_norm, _IMAGE),
        ("lstm", LSTM, _ids),
        ("experts", Experts, partial(_normal, 2, 7, 16)),
        ("multihead_attention", MultiheadAttention, partial(_normal, 2, 7, 32)),
        ("fused_qkv_3hd", partial(FusedAttention, False), _SEQUENCE),
        ("fused_qkv_h3d", partial(FusedAttention, True), _SEQUENCE),
    )
]
