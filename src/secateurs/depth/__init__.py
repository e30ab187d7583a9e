"""Depth: whole layers, found, ranked and dropped."""

from secateurs.depth.blocks import Layers, find_layers
from secateurs.depth.drop import drop_layers
from secateurs.depth.dropped import Dropped, drop_again, dropped
from secateurs.depth.ranking import INFLUENCE, LayerRanking, rank_layers

__all__ = [
    "INFLUENCE", "Dropped", "LayerRanking", "Layers", "drop_again", "drop_layers", "dropped", "find_layers",
    "rank_layers",
]  # fmt: skip
