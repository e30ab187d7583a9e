"""What the benchmarks need to know of a model, and how the zoo makes one fit to be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn


@dataclass(frozen=True)
class Entry:
    """A model of the zoo and how to run it.

    Attributes:
        name: unique in the zoo.
        family: ``torchvision``, ``timm``, ``transformers`` or ``shapes``.
        build: makes the model, with random weights and in eval mode; the caller seeds.
        inputs: makes example inputs, positional (a tuple) or by keyword (a dict); the caller seeds.
    """

    name: str
    family: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], tuple | dict]


def entry(name: str, family: str, construct: Callable[[], nn.Module], inputs: Callable[[], tuple | dict]) -> Entry:
    """Make an entry whose model is enlivened after ``construct`` has made it."""
    return Entry(name, family, partial(_build, construct, inputs), inputs)


def _build(construct: Callable[[], nn.Module], inputs: Callable[[], tuple | dict]) -> nn.Module:
    model = construct().eval()
    enliven(model, [inputs() for _ in range(4)])
    return model


def _joined(parts: Sequence) -> object:
    """One large batch of several: of tensors, or of lists of tensors."""
    return torch.cat(parts) if isinstance(parts[0], torch.Tensor) else [item for part in parts for item in part]


@torch.no_grad()
def enliven(model: nn.Module, batches: list[tuple] | list[dict]) -> None:
    """Make the output of an untrained model depend on its input and on every parameter.

    Libraries initialise biases, layer scales, tokens and whole heads with zeros or ones, and untrained running
    statistics let the signal of a deep network fade to 1e-13. A pruned model that goes wrong would go unseen there.
    So constant parameters get noise, and batch norms the statistics of ``batches``.

    Args:
        model: changed in place; stays in eval mode.
        batches: example inputs, positional or by keyword.
    """
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.numel() and parameter.min() == parameter.max():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the plain average over the calls of one forward pass
    if isinstance(batches[0], dict):
        model(**{key: _joined([batch[key] for batch in batches]) for key in batches[0]})
    else:
        model(*map(_joined, zip(*batches, strict=True)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
