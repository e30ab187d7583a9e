"""A contiguous range of the batches of a list or a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

LOADER_OPTIONS = (
    "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator",
    "prefetch_factor", "in_order",
)  # fmt: skip
"""Options of a DataLoader that apply to any batch sampler."""


def read_range(data: Any, numbers: range) -> Iterator[Any]:
    """Iterate over the batches `numbers` of `data`; a DataLoader with a sampler does not load the other batches."""
    sampled = type(data) is DataLoader and not isinstance(data.dataset, IterableDataset)
    if not sampled or data.batch_sampler is None:
        return iter(BatchRange(data, numbers))
    options = {name: getattr(data, name) for name in LOADER_OPTIONS}
    return iter(DataLoader(data.dataset, batch_sampler=BatchRange(data.batch_sampler, numbers), **options))  # type: ignore[arg-type]


@dataclass(frozen=True)
class BatchRange:
    """The items with consecutive numbers of something that can be iterated repeatedly."""

    items: Any
    numbers: range

    def __iter__(self) -> Iterator[Any]:
        return islice(self.items, self.numbers.start, self.numbers.stop)
