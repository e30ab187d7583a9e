"""Depth: whole layers, found, ranked and dropped."""

from secateurs.pruning.depth.drop import drop_layers
from secateurs.pruning.depth.find_layers import Layers, find_layers
from secateurs.pruning.depth.hooks import following, tensors
from secateurs.pruning.depth.ranking import INFLUENCE, LayerRanking, rank_layers

__all__ = ["INFLUENCE", "LayerRanking", "Layers", "drop_layers", "find_layers", "following", "rank_layers", "tensors"]
