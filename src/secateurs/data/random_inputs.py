"""Random inputs for criteria that need no real data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from secateurs.errors import DataError


@dataclass(frozen=True)
class RandomInputs:
    """Batches of standard normal inputs. Every iteration yields the same numbers. See `random_inputs`."""

    shape: tuple[int, ...]
    n: int
    batch_size: int
    seed: int

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        for start in range(0, self.n, self.batch_size):
            yield torch.randn(min(self.batch_size, self.n - start), *self.shape, generator=generator)

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)


def random_inputs(shape: tuple[int, ...], n: int, batch_size: int = 64, seed: int = 0) -> RandomInputs:
    """Make batches of standard normal inputs for criteria that need no real data.

    Args:
        shape: shape of one input without the batch dimension, such as (3, 32, 32).
        n: number of inputs.
        batch_size: inputs per batch; the last batch may be smaller.
        seed: seed of the random numbers. The same seed gives the same inputs.

    Returns:
        An iterable of float32 tensors [batch_size, *shape], which can be iterated repeatedly.

    Raises:
        DataError: a size is not a positive integer.

    Example:
        >>> batches = sc.random_inputs((3, 8, 8), n=100, batch_size=64)
        >>> [list(batch.shape) for batch in batches]
        [[64, 3, 8, 8], [36, 3, 8, 8]]
    """
    sizes = (n, batch_size, *shape) if isinstance(shape, (tuple, list)) else ()
    if not sizes or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise DataError(f"random inputs need positive integer sizes, not n={n}, batch_size={batch_size}, shape={shape}")
    return RandomInputs(tuple(shape), n, batch_size, seed)
