"""Setting single weights to zero, in models that keep their shapes."""

from secateurs.masking.mask import mask
from secateurs.masking.masked import Masked
from secateurs.masking.pools import SCOPES

__all__ = ["SCOPES", "Masked", "mask"]
