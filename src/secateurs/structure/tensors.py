"""Find the tensors among the arguments and results of an operator."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def tensors_in(*trees: Any) -> list[Tensor]:
    """List all tensors in nested lists, tuples and dicts, in order; operators take no other containers.

    `torch.utils._pytree` is ten times slower, which matters because this function runs for every operator call.
    """
    result: list[Tensor] = []
    for tree in trees:
        if isinstance(tree, Tensor):
            result.append(tree)
        elif isinstance(tree, (list, tuple)):
            result += tensors_in(*tree)
        elif isinstance(tree, dict):
            result += tensors_in(*tree.values())
    return result
