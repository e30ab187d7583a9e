"""How many threads a study takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

TINY = 1_000_000  # parameters


@contextmanager
def one_thread(tiny: bool = True) -> Iterator[None]:
    """Where tensors are tiny, several threads mostly wait for each other, and round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if tiny else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tiny(model: nn.Module) -> bool:
    """Whether one thread is fastest for a model."""
    return sum(its.numel() for its in model.parameters()) < TINY
