"""Rules of pixel shuffles, channel shuffles and patches, which turn channels into positions or the reverse."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import split


@rule("aten::channel_shuffle")
def channel_shuffle(flow: Flow, out: Any, x: Any, groups: int) -> Any:
    """[groups × inside] becomes [inside × groups]."""
    axes = flow.axes(x)
    both = split(axes[1], groups)
    return (axes[0], ax.product([both[1], both[0]]), *axes[2:]) if both else ()


@rule("aten::pixel_shuffle")
def pixel_shuffle(flow: Flow, out: Any, x: Any, factor: int) -> Any:
    """[..., C × r × r, H, W] becomes [..., C, H × r, W × r]."""
    (*batch, channels, height, width) = flow.axes(x)
    both = split(channels, channels.size // factor**2)
    if both is None:
        return ()
    flow.freeze([both[1], height, width], "pixel shuffle")
    return (*batch, both[0], *(ax.new(n, "pixel shuffle") for n in out.shape[-2:]))


@rule("aten::pixel_unshuffle")
def pixel_unshuffle(flow: Flow, out: Any, x: Any, factor: int) -> Any:
    """[..., C, H × r, W × r] becomes [..., C × r × r, H, W]."""
    (*batch, channels, height, width) = flow.axes(x)
    flow.freeze([height, width], "pixel shuffle")
    merged = ax.product([channels, ax.new(factor**2, "pixel shuffle")])
    return (*batch, merged, *(ax.new(n, "pixel shuffle") for n in out.shape[-2:]))


@rule("aten::im2col")
def im2col(flow: Flow, out: Any, x: Any, *_: Any) -> Any:
    """Extract patches: [N, C, H, W] becomes [N, C × taps, positions]."""
    axes = flow.axes(x)
    flow.freeze(axes[2:], "spatial dimension of patches")
    taps = out.shape[1] // axes[1].size
    return axes[0], ax.product([axes[1], ax.new(taps, "kernel tap")]), ax.new(out.shape[2], "positions of patches")


@rule("aten::col2im")
def col2im(flow: Flow, out: Any, x: Any, *_: Any) -> Any:
    """Assemble patches: [N, C × taps, positions] becomes [N, C, H, W]."""
    axes = flow.axes(x)
    both = split(axes[1], out.shape[1])
    if both is None:
        return ()
    flow.freeze([both[1], axes[2]], "kernel tap")
    return axes[0], both[0], *(ax.new(n, "spatial dimension of patches") for n in out.shape[2:])
