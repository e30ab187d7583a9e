"""Models and data as the command line names them."""

from secateurs.experiments.specs.data import is_random, read_data, read_dataset
from secateurs.experiments.specs.models import build, pretrained
from secateurs.experiments.specs.names import DIGITS
from secateurs.experiments.specs.python_file import function

__all__ = ["DIGITS", "build", "function", "is_random", "pretrained", "read_data", "read_dataset"]
