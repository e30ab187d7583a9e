"""The tensors among what an ATen operator takes and returns."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def tensors_in(*trees: Any) -> list[Tensor]:
    """Every tensor, in order.  ATen knows no containers but lists, tuples and, for keywords, a dict.

    `torch.utils._pytree` would do the same in ten times the time, which adds up over every operator of a model.
    """
    found: list[Tensor] = []
    for tree in trees:
        if isinstance(tree, Tensor):
            found.append(tree)
        elif isinstance(tree, (list, tuple)):
            found += tensors_in(*tree)
        elif isinstance(tree, dict):
            found += tensors_in(*tree.values())
    return found
