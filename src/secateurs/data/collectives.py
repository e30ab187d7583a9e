"""How the processes that data is spread over come to the same result; for data that is not spread, nothing changes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from secateurs.data.shard import Shard

T = TypeVar("T")
N = TypeVar("N", int, float, Tensor)


def errors_on_all_ranks(data: Any) -> AbstractContextManager[None]:
    """Raise an error of one rank on all ranks, as a DataError; see `Shard.errors_on_all`."""
    return data.errors_on_all() if isinstance(data, Shard) else nullcontext()


def gather_ranks(data: Any, value: T) -> list[T]:
    """The values of all ranks that the data is spread over, in their order; just this one if it is not spread."""
    return data.gather(value) if isinstance(data, Shard) else [value]


def sum_over_ranks(data: Any, value: N) -> N:
    """The sum of all ranks' values, the same bits on each."""
    return reduce(lambda one, other: one + other, gather_ranks(data, value))


def first_rank_data(data: Any) -> Any:
    """Data whose first batch is that of all data, on every rank: for a shard, what rank 0 reads first."""
    if not isinstance(data, Shard):
        return data
    with data.errors_on_all():
        first = list(islice(data, 1))  # on every rank, lest their generators get out of step
    return data.gather(first if data.rank == 0 else [])[0]


def check_ranks_agree(data: Any, value: str, what: str) -> None:
    """See that all ranks that the data is spread over hold the same text, such as a plan's JSON.

    Raises:
        UsageError: naming `what`, and the ranks whose text differs from that of rank 0.
    """
    if isinstance(data, Shard):
        data.check_agreement(value, what)


def check_same_weights(data: Any, model: nn.Module) -> None:
    """See that all ranks that the data is spread over hold the same model, going by the sums of its parameters.

    Raises:
        UsageError: they do not.
    """
    if isinstance(data, Shard):
        sums = (float(p.detach().sum(dtype=torch.float64)) for p in model.parameters() if p.is_floating_point())
        data.check_agreement(" ".join(f"{total:.6g}" for total in sums), "model")
