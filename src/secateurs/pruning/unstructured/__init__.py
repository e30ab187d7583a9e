"""Unstructured pruning: set single weights to zero, in a model that keeps its shapes."""

from secateurs.pruning.unstructured.comparison_groups import MASK_SCOPES
from secateurs.pruning.unstructured.mask import mask
from secateurs.pruning.unstructured.masked import Masked

__all__ = ["MASK_SCOPES", "Masked", "mask"]
