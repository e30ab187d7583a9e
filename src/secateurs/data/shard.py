"""Shards: data that is distributed over the processes of `torch.distributed`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.data import DistributedSampler

from secateurs.data.batch_range import read_range
from secateurs.errors import DataError, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The part of the data that one rank reads. Made by `shard`.

    Iterating over a shard yields the batches of this rank.

    Attributes:
        data: all data; if `split`, only the part of this rank.
        group: process group of `torch.distributed`; None means all processes.
        split: whether `data` contains only the part of this rank.
    """

    data: Any
    group: Any = None
    split: bool = False

    def __post_init__(self):
        if self.split:
            return
        if not isinstance(self.data, Sized):
            raise DataError(
                f"data of type {type(self.data).__name__} has no length and cannot be distributed over processes: give "
                "a list or a DataLoader, or give each process its own part with split=True"
            )
        if len(self.data) < self.ranks:
            raise DataError(
                f"{len(self.data)} batches cannot be distributed over {self.ranks} processes: give one batch per "
                "process or more"
            )

    @property
    def rank(self) -> int:
        """The rank of this process in the group."""
        return distributed.get_rank(self.group)

    @property
    def ranks(self) -> int:
        """The number of processes in the group."""
        return distributed.get_world_size(self.group)

    @property
    def part(self) -> range:
        """The numbers of this rank's batches. They are contiguous and increase with the rank."""
        count = len(self.data)
        if self.split:
            return range(count)
        return range(self.rank * count // self.ranks, (self.rank + 1) * count // self.ranks)

    def __len__(self) -> int:
        return len(self.part)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data) if self.split else read_range(self.data, self.part)

    def gather(self, value: T) -> list[T]:
        """Collect the values of all ranks in the order of ranks. Every rank must call this method.

        Tensors are transferred through the CPU and arrive on the device of this rank's first tensor. The transfer uses
        pickle, which is safe because only processes of this group send data.
        """
        device = next(
            (tensor.device for tensor in tree_leaves(value) if isinstance(tensor, Tensor)), torch.device("cpu")
        )
        gathered: list[Any] = [None] * self.ranks
        # Pickling a view would transfer the whole storage, hence the copy.
        sent = tree_map_only(Tensor, lambda t: t.detach().to("cpu", copy=True), value)
        distributed.all_gather_object(gathered, sent, self.group)
        return tree_map_only(Tensor, lambda t: t.to(device), gathered)

    def check_agreement(self, value: str, what: str) -> None:
        """Check that all ranks have the same text.

        Args:
            value: the text of this rank.
            what: a name of the text, for the error message.

        Raises:
            UsageError: a rank has another text than rank 0. The message names the ranks.
        """
        digests = self.gather(sha256(value.encode()).hexdigest())
        if differing := [rank for rank, digest in enumerate(digests) if digest != digests[0]]:
            raise UsageError(
                f"rank {', '.join(map(str, differing))} has another {what} than rank 0: every process must load the "
                "same model, use the same seed and give the same arguments"
            )

    @contextmanager
    def errors_on_all(self) -> Iterator[None]:
        """Raise an error of one rank on all ranks at the end of the block, so that no rank waits forever.

        Raises:
            DataError: a rank failed. The message names the rank and the error.
        """
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        messages = self.gather(None if failure is None else str(failure) or type(failure).__name__)
        if failed := [rank for rank, message in enumerate(messages) if message is not None]:
            more = f" (as did rank {', '.join(map(str, failed[1:]))})" if failed[1:] else ""
            raise DataError(f"rank {failed[0]} failed{more}: {messages[failed[0]]}") from failure


def shard(data: Iterable[Any], group: Any = None, *, split: bool = False) -> Shard:
    """Distribute data over the processes of `torch.distributed`. Pass the result wherever data is expected.

    Every process must make this call, and all later calls of the library, with the same arguments. Scores, plans and
    compensation are then equal in all processes. They equal those of a single process with all data up to rounding.

    Args:
        data: all data, the same in every process, with a length: a list or a DataLoader. Each process reads a
            contiguous part. A loader that shuffles needs a generator with the same seed in every process.
        group: a process group from `torch.distributed.new_group`; by default all processes.
        split: whether `data` is already the part of this process, such as a loader with a `DistributedSampler`.

    Returns:
        The part of this process.

    Raises:
        UsageError: `torch.distributed` is not initialised, this process is not in the group, the processes have data
            of different length or order, or `data` is a shard already.
        DataError: the data has no length, has fewer batches than there are processes, is split already, or is shuffled
            differently in each process.

    Example:
        >>> from torch import distributed
        >>> if distributed.is_initialized():  # in a script that torchrun started
        ...     data = sc.shard(data)
        >>> scores = sc.score(model, data, "nexp")
    """
    if isinstance(data, Shard):
        raise UsageError("the data is a shard already: use it as it is")
    if not (distributed.is_available() and distributed.is_initialized()):
        raise UsageError(
            "torch.distributed is not initialised: start the script with torchrun and call "
            "torch.distributed.init_process_group(), or use the data without sc.shard in a single process"
        )
    part = Shard(data, group, split=True)
    if part.rank < 0:
        raise UsageError("this process is not a member of the process group: call sc.shard only in its members")
    if split:
        return part
    with part.errors_on_all():
        order, part = _order(data), replace(part, split=False)
    part.check_agreement(f"{len(part.data)} batches, {order}", "length or order of the data")
    return part


def _order(data: Any) -> str:
    """Describe the order of a loader's batches: the state of the generator that shuffles, if there is one."""
    sampler: Any = getattr(getattr(data, "batch_sampler", None) or data, "sampler", None)
    if isinstance(sampler, DistributedSampler):
        raise DataError("the loader has a DistributedSampler, which splits the data already: give split=True")
    if not hasattr(sampler, "generator"):
        return "fixed order"
    if sampler.generator is None:
        raise DataError(
            "the loader shuffles in another order in each process, so that some samples would be read twice and others "
            "not at all. Give it a generator with the same seed in every process: "
            "DataLoader(..., generator=torch.Generator().manual_seed(0))"
        )
    return str(sampler.generator.get_state().tolist())


def map_data(change: Callable[[Any], Any], data: Any) -> Any:
    """Apply a function to data, or to the underlying data of a shard.

    Args:
        change: the function.
        data: any data.

    Returns:
        The changed data; a shard if `data` is a shard.
    """
    return replace(data, data=change(data.data)) if isinstance(data, Shard) else change(data)
