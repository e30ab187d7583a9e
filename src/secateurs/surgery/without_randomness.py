"""Run a model with its random operators replaced, so that a cut model and the dense model can be compared.

Random numbers are drawn in the order of the elements. A cut tensor has fewer elements, so every number after the first
removed unit would differ, although the cut is right.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

CONSTANT = 0.25
"""The value of every random number: inside the range of uniform numbers, and not zero, which would hide errors."""


CREATORS = {
    f"aten::{name}{suffix}"
    for name in ("rand", "randn", "normal", "uniform", "bernoulli")
    for suffix in ("", "_", "_like")
}
"""Operators that return random numbers only."""


class WithoutRandomness(TorchDispatchMode):
    """Replace dropout by the identity, and random numbers by a constant."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operator = func._schema.name
        if operator == "aten::native_dropout":
            return args[0].clone(), torch.ones_like(args[0], dtype=torch.bool)
        out = func(*args, **(kwargs or {}))
        return out.fill_(CONSTANT) if operator in CREATORS and out.is_floating_point() else out
