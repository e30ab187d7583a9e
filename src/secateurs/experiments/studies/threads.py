"""The number of threads that a study uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

TINY = 1_000_000  # parameters


@contextmanager
def one_thread(enabled: bool = True) -> Iterator[None]:
    """Use one thread within the context: it is faster for tiny tensors, and results do not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if enabled else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_tiny(model: nn.Module) -> bool:
    """Whether a model is so small that one thread is fastest."""
    return sum(parameter.numel() for parameter in model.parameters()) < TINY
