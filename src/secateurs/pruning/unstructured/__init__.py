"""Setting single weights to zero, in models that keep their shapes."""

from secateurs.pruning.unstructured.mask import mask
from secateurs.pruning.unstructured.masked import Masked
from secateurs.pruning.unstructured.pools import SCOPES

__all__ = ["SCOPES", "Masked", "mask"]
