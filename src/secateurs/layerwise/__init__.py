"""Layer by layer: pruning models that are larger than memory, of which one layer is there at a time."""

from secateurs.layerwise.estimate import Estimate
from secateurs.layerwise.run import Layerwise, LayerwiseResult

__all__ = ["Estimate", "Layerwise", "LayerwiseResult"]
