"""The outputs of layers, cached for the layers after them: in memory or in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from secateurs.pruning.layerwise.execution_plan import ExecutionPlan
from secateurs.pruning.layerwise.execution_trace import OutputTensor


class ActivationCache:
    """The output of each layer on each batch.

    A released tensor is replaced by a tensor on the meta device: the size is known, the values cannot be used by
    mistake.
    """

    def __init__(self, plan: ExecutionPlan, device: torch.device, folder: Path | None):
        """Start with an empty cache.

        Args:
            plan: tells which output tensors only the next layer uses.
            device: the device on which the model runs.
            folder: the directory for cached tensors; None keeps them in CPU memory.
        """
        self._plan, self._device, self._folder = plan, device, folder
        self._outputs: dict[tuple[str, int], tuple[list[Any], TreeSpec]] = {}

    def store(self, layer: str, batch: int, output: Any) -> None:
        """Cache a layer's output on a batch."""
        leaves, tree = tree_flatten(output)
        stored = [self._write(leaf, f"{layer}-{batch}-{index}") for index, leaf in enumerate(leaves)]
        self._outputs[layer, batch] = stored, tree

    def load(self, layer: str, batch: int) -> Any:
        """The cached output of a layer on a batch."""
        stored, tree = self._outputs[layer, batch]
        return tree_unflatten([self._read(leaf) for leaf in stored], tree)

    def release(self, layer: str, batch: int) -> None:
        """Free those tensors of a layer's output that only the next layer uses."""
        stored, _ = self._outputs[layer, batch]
        for index, leaf in enumerate(stored):
            if isinstance(leaf, (Tensor, Path)) and OutputTensor(layer, index) not in self._plan.long_lived:
                stored[index] = torch.empty_like(self._read(leaf), device="meta")
                if isinstance(leaf, Path):
                    leaf.unlink()

    def _write(self, leaf: Any, name: str) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if self._folder is not None:
            path = self._folder / f"{name}.safetensors"
            safetensors.torch.save_file({"leaf": leaf.contiguous()}, path)
            return path
        owns_storage = leaf.untyped_storage().nbytes() <= leaf.nbytes  # a view would keep a larger storage alive
        return (leaf if owns_storage else leaf.clone()).cpu()

    def _read(self, leaf: Any) -> Any:
        if isinstance(leaf, Path):
            return safetensors.torch.load_file(leaf, device=str(self._device))["leaf"]
        return leaf.to(self._device) if isinstance(leaf, Tensor) and not leaf.is_meta else leaf
