"""Depth pruning: find the residual layers of a model, rank them, and drop whole layers."""

from secateurs.pruning.depth.drop import drop_layers
from secateurs.pruning.depth.find_layers import Layers, find_layers
from secateurs.pruning.depth.hooks import forward_hooks, tensor_leaves
from secateurs.pruning.depth.ranking import BLOCK_INFLUENCE, LayerRanking, rank_layers

__all__ = [
    "BLOCK_INFLUENCE",
    "LayerRanking",
    "Layers",
    "drop_layers",
    "find_layers",
    "forward_hooks",
    "rank_layers",
    "tensor_leaves",
]
