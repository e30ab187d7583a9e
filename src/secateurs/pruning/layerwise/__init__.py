"""Layer by layer: pruning models that are larger than memory, of which one layer is there at a time."""

from secateurs.pruning.layerwise.estimate import Estimate
from secateurs.pruning.layerwise.layerwise import Layerwise, LayerwiseResult

__all__ = ["Estimate", "Layerwise", "LayerwiseResult"]
