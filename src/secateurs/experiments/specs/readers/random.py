"""random:N: generated inputs."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from secateurs.data import random_inputs
from secateurs.errors import DataError
from secateurs.experiments.specs.registry import DataOptions, data_spec


@data_spec("random", "random:N", generated=True)
def generate(argument: str, options: DataOptions) -> Iterable[Tensor]:
    """N standard normal inputs of a given shape (--input), without labels."""
    if not argument.isdigit():
        raise DataError(f"data 'random:{argument}' has no number of inputs: write it as in random:64")
    if options.shape is None:
        raise DataError("random inputs need a shape: give --input, as in --input 3,32,32")
    return random_inputs(options.shape, int(argument), options.batch_size, options.seed)
