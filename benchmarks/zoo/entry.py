"""What the benchmarks need to know of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
