"""What layers returned, kept for those after them: in memory, or in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from secateurs.pruning.layerwise.execution_plan import Leaf, Passage


class Kept:
    """What each layer returned on each batch.

    Of what has been let go there are tensors on the meta device: sizes, with which nothing can be computed by mistake.
    """

    def __init__(self, passage: Passage, device: torch.device, folder: Path | None):
        """Keep nothing yet.

        Args:
            passage: tells what is used by the next layer alone.
            device: where the model runs.
            folder: where files are written; without one, tensors stay in the memory of the CPU.
        """
        self._passage, self._device, self._folder = passage, device, folder
        self._held: dict[tuple[str, int], tuple[list[Any], TreeSpec]] = {}

    def keep(self, layer: str, batch: int, output: Any) -> None:
        """Keep what a layer returned on a batch."""
        leaves, form = tree_flatten(output)
        held = [self._put(leaf, f"{layer}-{batch}-{number}") for number, leaf in enumerate(leaves)]
        self._held[layer, batch] = held, form

    def get(self, layer: str, batch: int) -> Any:
        """What the layer returned on the batch."""
        held, form = self._held[layer, batch]
        return tree_unflatten([self._taken(leaf) for leaf in held], form)

    def let_go(self, layer: str, batch: int) -> None:
        """Keep no longer what only the layer next to this one uses."""
        held, _ = self._held[layer, batch]
        for number, leaf in enumerate(held):
            if isinstance(leaf, (Tensor, Path)) and Leaf(layer, number) not in self._passage.lasting:
                held[number] = torch.empty_like(self._taken(leaf), device="meta")
                if isinstance(leaf, Path):
                    leaf.unlink()

    def _put(self, leaf: Any, name: str) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if self._folder is not None:
            path = self._folder / f"{name}.safetensors"
            safetensors.torch.save_file({"leaf": leaf.contiguous()}, path)
            return path
        whole = leaf.untyped_storage().nbytes() <= leaf.nbytes  # and not a small part of something large
        return (leaf if whole else leaf.clone()).cpu()

    def _taken(self, leaf: Any) -> Any:
        if isinstance(leaf, Path):
            return safetensors.torch.load_file(leaf, device=str(self._device))["leaf"]
        return leaf.to(self._device) if isinstance(leaf, Tensor) and not leaf.is_meta else leaf
