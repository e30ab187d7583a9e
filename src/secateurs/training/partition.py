"""Distribution of training batches over processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from secateurs.data import Shard
from secateurs.errors import DataError

if TYPE_CHECKING:  # Accelerate is slow to import, and an extra
    from accelerate import Accelerator


@contextmanager
def process_batches(data: Iterable[Any], accelerator: Accelerator) -> Iterator[Iterable[Any]]:
    """Yield the batches of this process. Every process gets the same number of batches.

    Together, the processes read all batches. Some batches may be read twice to equalise the numbers. Each process loads
    only its part of a DataLoader. Other iterables are iterated completely by every process, which selects its batches.
    A shard already contains the batches of its process.

    Args:
        data: the training data.
        accelerator: the accelerator, which knows the processes.
    """
    if isinstance(data, Shard):
        yield PaddedShard(data, max(data.gather(_count(data))))
    elif accelerator.num_processes == 1:
        yield data
    elif isinstance(data, DataLoader):
        from accelerate.data_loader import get_sampler

        sampler = get_sampler(data)
        generator = getattr(sampler, "generator", None)
        try:
            yield accelerator.prepare_data_loader(data, device_placement=False)
        finally:
            if sampler is not None and hasattr(sampler, "generator"):
                sampler.generator = generator  # Accelerate sets a generator if there is none
    else:
        yield RoundRobin(data, accelerator.process_index, accelerator.num_processes)


@dataclass(frozen=True)
class RoundRobin:
    """The batches rank, rank + ranks, rank + 2·ranks, ... of the data.

    If the number of batches is not a multiple of `ranks`, the first batches are repeated at the end.

    Attributes:
        data: batches, the same in every process.
        rank: number of this process.
        ranks: number of processes.
    """

    data: Iterable[Any]
    rank: int
    ranks: int

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.data)
        first: list[Any] = []
        while group := list(islice(batches, self.ranks)):
            first = first or group
            missing = self.ranks - len(group)
            yield (group + first * missing)[self.rank]

    def __len__(self) -> int:
        return -(-len(self.data) // self.ranks)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PaddedShard:
    """A shard of `count` batches: the first batches of `data` are repeated at the end if there are fewer."""

    data: Shard
    count: int

    def __iter__(self) -> Iterator[Any]:
        return islice(chain.from_iterable(repeat(self.data)), self.count)

    def __len__(self) -> int:
        return self.count


def known_length(data: Any) -> int | None:
    """The number of batches; None if the data has no length."""
    try:
        return len(data)
    except TypeError:
        return None


def _count(shard: Shard) -> int:
    """The number of batches of a shard."""
    count = known_length(shard)
    if not count:
        problem = "no batch" if count == 0 else "no length"
        raise DataError(f"the shard of rank {shard.rank} has {problem}: training needs a known number of batches ≥ 1")
    return count
