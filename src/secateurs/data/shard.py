"""Data spread over the processes of a group: what each of them reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from secateurs.errors import DataError, UsageError

T = TypeVar("T")

LOADER_OPTIONS = (
    "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator",
    "prefetch_factor", "in_order",
)  # fmt: skip
"""How a DataLoader reads the batches that its sampler names."""


@dataclass(frozen=True)
class BatchRange:
    """Some items, one after the other, of what can be iterated again."""

    items: Any
    numbers: range

    def __iter__(self) -> Iterator[Any]:
        return islice(self.items, self.numbers.start, self.numbers.stop)

    def loader(self) -> DataLoader:
        """The slice of a DataLoader as a loader, which does not read the other batches."""
        whole = self.items
        options = {name: getattr(whole, name) for name in LOADER_OPTIONS}
        return DataLoader(whole.dataset, batch_sampler=BatchRange(whole.batch_sampler, self.numbers), **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Shard:
    """One rank's part of data; made by `shard`, on all ranks of a group alike.

    Attributes:
        data: all of it; or this rank's part, if it came `split`.
        group: of `torch.distributed`; None is all processes.
        split: whether `data` is this rank's part alone.
    """

    data: Any
    group: Any = None
    split: bool = False

    def __post_init__(self):
        if self.split:
            return
        if not isinstance(self.data, Sized):
            raise DataError(
                f"a {type(self.data).__name__} has no length, so that it cannot be spread over processes; give a list "
                "or a DataLoader, or each process its own part with split=True"
            )
        if len(self.data) < self.ranks:
            raise DataError(f"{len(self.data)} batches cannot be spread over {self.ranks} processes; give more batches")

    @property
    def rank(self) -> int:
        """The number of this process in the group."""
        return distributed.get_rank(self.group)

    @property
    def ranks(self) -> int:
        """How many processes there are."""
        return distributed.get_world_size(self.group)

    @property
    def part(self) -> range:
        """The numbers of this rank's batches: contiguous, so that all ranks' in their order are the whole in its."""
        count = len(self.data)
        if self.split:
            return range(count)
        return range(self.rank * count // self.ranks, (self.rank + 1) * count // self.ranks)

    def __len__(self) -> int:
        return len(self.part)

    def __iter__(self) -> Iterator[Any]:
        if self.split:
            return iter(self.data)
        part = BatchRange(self.data, self.part)
        sampled = type(self.data) is DataLoader and not isinstance(self.data.dataset, IterableDataset)
        return iter(part.loader() if sampled and self.data.batch_sampler is not None else part)

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order; every rank must call it.

        Tensors travel by way of the CPU, and arrive where this rank's are. (They are pickled, but only our own
        processes' pickles are read.)
        """
        device = next(
            (tensor.device for tensor in tree_leaves(value) if isinstance(tensor, Tensor)), torch.device("cpu")
        )
        gathered: list[Any] = [None] * self.ranks
        # A copy, as with a view all that it is a view of would travel.
        sent = tree_map_only(Tensor, lambda t: t.detach().to("cpu", copy=True), value)
        distributed.all_gather_object(gathered, sent, self.group)
        return tree_map_only(Tensor, lambda t: t.to(device), gathered)

    def check_agreement(self, value: str, what: str) -> None:
        """See that all ranks hold the same text.

        Raises:
            UsageError: naming the ranks whose text differs from that of rank 0.
        """
        digests = self.gather(sha256(value.encode()).hexdigest())
        if differing := [rank for rank, digest in enumerate(digests) if digest != digests[0]]:
            raise UsageError(
                f"rank {', '.join(map(str, differing))} has another {what} than rank 0; every process must load the "
                "same model, seed alike and give the same arguments"
            )

    @contextmanager
    def errors_on_all(self) -> Iterator[None]:
        """An error within on one rank is raised on all, lest they wait for each other for ever.

        Raises:
            DataError: naming the rank that failed.
        """
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        messages = self.gather(None if failure is None else str(failure) or type(failure).__name__)
        if failed := [rank for rank, message in enumerate(messages) if message is not None]:
            others = f" (as did rank {', '.join(map(str, failed[1:]))})" if failed[1:] else ""
            raise DataError(f"rank {failed[0]} failed{others}: {messages[failed[0]]}") from failure


def shard(data: Iterable[Any], group: Any = None, *, split: bool = False) -> Shard:
    """Distribute data over the processes of `torch.distributed`. Pass the result wherever data is expected.

    Every process makes this call, and all others, with the same arguments. Scores, plans and compensation are then
    equal in all processes, and equal to those of a single process with all data up to rounding.

    Args:
        data: all data, the same in every process, with a length: a list or a DataLoader. Each process reads a
            contiguous part. A loader that shuffles needs its own generator, with the same seed in every process.
        group: a group of processes from `torch.distributed.new_group`; by default all processes.
        split: whether `data` is already the part of this process, such as a loader with a `DistributedSampler`.

    Returns:
        The part of this process.

    Raises:
        UsageError: `torch.distributed` is not initialised, the process is not in the group, the processes' data differ
            in length or order, or it is a shard.
        DataError: the data has no length, has fewer batches than there are processes, is split already, or shuffles in
            an order of each process's own.

    Example:
        >>> from torch import distributed
        >>> if distributed.is_initialized():  # in a script that torchrun started
        ...     data = sc.shard(data)
        >>> scores = sc.score(model, data, "nexp")
    """
    if isinstance(data, Shard):
        raise UsageError("the data is sharded already: give the shard itself")
    if not (distributed.is_available() and distributed.is_initialized()):
        raise UsageError(
            "torch.distributed is not initialised: start the script with torchrun and call "
            "torch.distributed.init_process_group(), or give the data itself to a single process"
        )
    made = Shard(data, group, split=True)
    if made.rank < 0:
        raise UsageError("this process is not in the group that the data is to be spread over")
    if split:
        return made
    with made.errors_on_all():
        order, made = _order(data), replace(made, split=False)
    made.check_agreement(f"{len(made.data)} batches, {order}", "length or order of its data")
    return made


def _order(data: Any) -> str:
    """What the order of a loader's batches depends on."""
    sampler: Any = getattr(getattr(data, "batch_sampler", None) or data, "sampler", None)
    if isinstance(sampler, DistributedSampler):
        raise DataError("the loader's DistributedSampler splits the data already: give split=True")
    if not hasattr(sampler, "generator"):
        return "as it comes"
    if sampler.generator is None:
        raise DataError(
            "the loader shuffles, each process in another order, so that some samples would be read twice and others "
            "never; give it a generator that is seeded alike everywhere: "
            "DataLoader(..., generator=torch.Generator().manual_seed(0))"
        )
    return str(sampler.generator.get_state().tolist())


def map_data(change: Callable[[Any], Any], data: Any) -> Any:
    """`change(data)`; of a shard, of all its data, which is then spread as it was."""
    return replace(data, data=change(data.data)) if isinstance(data, Shard) else change(data)
