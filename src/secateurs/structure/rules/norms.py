"""Rules of normalisations: a weight shares the axis that it scales; statistics over an axis make removals inexact."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import split, unify


@rule(
    "aten::native_batch_norm",
    "aten::_native_batch_norm_legit_no_training",
    "aten::cudnn_batch_norm",
    kind="affine",
)
def batch_norm(flow: Flow, out: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Normalise each channel by the statistics of that channel."""
    axes = flow.axes(x)
    if len(args) > 4 and args[4] is True:  # statistics of the batch, as in instance norm and weight standardisation
        for axis in (axes[0], *axes[2:]):
            ax.mark_inexact(axis, "batch norm computes statistics over these units")
    for tensor in args[:4]:
        if hasattr(tensor, "shape"):
            unify(flow.axes(tensor)[0], axes[1])
            flow.sized(axes[1], "num_features", tensor)
    flow.sized(axes[1], "num_features")
    return [axes] + [axes[1:2] if t.numel() == axes[1].size else (ax.NONE,) * t.ndim for t in out[1:]]


@rule("aten::native_layer_norm")
def layer_norm(
    flow: Flow, out: Any, x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise by statistics over the last dimensions."""
    axes = flow.axes(x)
    leading, normalised = axes[: -len(shape)], axes[-len(shape) :]
    for axis in normalised:
        ax.mark_inexact(axis, "layer norm computes statistics over these units")
        flow.sized(axis, "normalized_shape", weight)
    for tensor in (weight, bias):
        for axis, weight_axis in zip(normalised, flow.axes(tensor) if tensor is not None else (), strict=False):
            unify(axis, weight_axis)
    statistics = (*leading, *[ax.ONE] * len(shape))
    return [axes, statistics, statistics]


@rule("aten::native_group_norm")
def group_norm(
    flow: Flow, out: Any, x: Any, weight: Any, bias: Any, n: int, c: int, hw: int, groups: int, eps: float
) -> Any:
    """Channels are (groups × channels per group). Removal is exact for whole groups and inexact for single channels."""
    axes = flow.axes(x)
    for tensor in (weight, bias):
        if tensor is not None:
            unify(flow.axes(tensor)[0], axes[1])
    both = split(axes[1], groups)
    if both is None:
        flow.freeze(axes[1], f"the channels cannot be split into {groups} equal groups")
        both = ax.new(groups, "normalisation groups"), ax.ONE
    ax.mark_inexact(both[1], "group norm computes statistics over these units")
    flow.sized(axes[1], "num_channels", weight)
    flow.sized(both[0], "num_groups", weight)
    statistics = (axes[0], both[0])
    return [axes, statistics, statistics]


@rule("aten::_weight_norm_interface", "aten::_weight_norm")
def weight_norm(flow: Flow, out: Any, v: Any, g: Any, dim: int = 0) -> Any:
    """g · v / ‖v‖, with the norm over all dimensions except one."""
    axes = flow.axes(v)
    for axis, scale_axis in zip(axes, flow.axes(g), strict=True):
        if scale_axis.size > 1:
            unify(axis, scale_axis)
    for d, axis in enumerate(axes):
        if d != dim % len(axes):
            ax.mark_inexact(axis, "weight norm computes a norm over these units")
    return [axes, flow.axes(g)] if isinstance(out, list) else axes
