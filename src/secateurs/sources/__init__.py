"""Models and data as the command line names them."""

from secateurs.sources.data import is_random, read_data, read_dataset
from secateurs.sources.functions import function
from secateurs.sources.images import ImageOptions
from secateurs.sources.models import build, pretrained
from secateurs.sources.names import DIGITS

__all__ = ["DIGITS", "ImageOptions", "build", "function", "is_random", "pretrained", "read_data", "read_dataset"]
