"""What each process reads of the data that it trains on."""

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
    """This process's batches: as many in each process, and together all of them, the first of them perhaps twice.

    A DataLoader is read by each process in part. Other data is read whole by each, which takes its batches. A shard is
    a process's own batches.
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
                sampler.generator = generator  # where there is none, Accelerate sets one
    else:
        yield RoundRobin(data, accelerator.process_index, accelerator.num_processes)


@dataclass(frozen=True)
class RoundRobin:
    """Of each `ranks` batches in turn, that of this rank; the last turn is filled up with the first batches."""

    data: Iterable[Any]
    rank: int
    ranks: int

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.data)
        first: list[Any] = []
        while turn := list(islice(batches, self.ranks)):
            first = first or turn
            missing = self.ranks - len(turn)
            yield (turn + first * missing)[self.rank]

    def __len__(self) -> int:
        return -(-len(self.data) // self.ranks)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PaddedShard:
    """A shard, filled up with its own first batches to a number of batches."""

    data: Shard
    count: int

    def __iter__(self) -> Iterator[Any]:
        return islice(chain.from_iterable(repeat(self.data)), self.count)

    def __len__(self) -> int:
        return self.count


def known_length(data: Any) -> int | None:
    """How many batches there are, where that is known."""
    try:
        return len(data)
    except TypeError:
        return None


def _count(shard: Shard) -> int:
    count = known_length(shard)
    if not count:
        has = "no batch" if count == 0 else "no length"
        raise DataError(f"the shard of rank {shard.rank} has {has}; to train, each needs a batch or more")
    return count
