"""Layer-by-layer pruning of models larger than memory: the weights of one layer are in memory at a time."""

from secateurs.pruning.layerwise.estimate import Estimate
from secateurs.pruning.layerwise.layerwise import Layerwise
from secateurs.pruning.layerwise.result import LayerwiseResult

__all__ = ["Estimate", "Layerwise", "LayerwiseResult"]
