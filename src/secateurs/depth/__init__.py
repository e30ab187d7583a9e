"""Depth: whole layers, found, ranked and dropped."""

from secateurs.depth.blocks import Layers, find_layers
from secateurs.depth.drop import drop_layers
from secateurs.depth.ranking import LayerRanking, rank_layers

__all__ = ["LayerRanking", "Layers", "drop_layers", "find_layers", "rank_layers"]
