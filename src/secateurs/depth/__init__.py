"""Depth: whole layers, found, ranked and dropped."""

from secateurs.depth.blocks import Layers, find_layers
from secateurs.depth.drop import drop_layers
from secateurs.depth.ranking import INFLUENCE, LayerRanking, rank_layers

__all__ = ["INFLUENCE", "LayerRanking", "Layers", "drop_layers", "find_layers", "rank_layers"]
