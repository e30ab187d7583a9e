"""Collective operations over the ranks of a shard. For data that is not a shard they do nothing."""

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
    """Context manager that raises an error of one rank on all ranks as a DataError; see `Shard.errors_on_all`."""
    return data.errors_on_all() if isinstance(data, Shard) else nullcontext()


def gather_ranks(data: Any, value: T) -> list[T]:
    """Collect the values of all ranks.

    Args:
        data: the data. If it is a shard, every rank must call this function.
        value: the value of this rank.

    Returns:
        The values in the order of ranks; `[value]` if `data` is not a shard.
    """
    return data.gather(value) if isinstance(data, Shard) else [value]


def sum_over_ranks(data: Any, value: N) -> N:
    """Sum the values of all ranks.

    Args:
        data: the data. If it is a shard, every rank must call this function.
        value: the value of this rank.

    Returns:
        The sum, bitwise equal on all ranks; `value` if `data` is not a shard.
    """
    return reduce(lambda total, term: total + term, gather_ranks(data, value))


def first_rank_data(data: Any) -> Any:
    """Data whose first batch is the same on all ranks: the first batch of rank 0, or `data` if it is not a shard."""
    if not isinstance(data, Shard):
        return data
    with data.errors_on_all():
        first = list(islice(data, 1))  # every rank reads, so that the random generators stay in the same state
    return data.gather(first if data.rank == 0 else [])[0]


def check_ranks_agree(data: Any, value: str, what: str) -> None:
    """Check that all ranks have the same text, such as the JSON of a plan.

    Args:
        data: the data; nothing is checked unless it is a shard.
        value: the text of this rank.
        what: a name of the text, for the error message.

    Raises:
        UsageError: a rank has another text than rank 0. The message names `what` and the ranks.
    """
    if isinstance(data, Shard):
        data.check_agreement(value, what)


def check_same_weights(data: Any, model: nn.Module) -> None:
    """Check that all ranks have the same weights, by comparing the sum of each parameter (6 digits).

    Args:
        data: the data; nothing is checked unless it is a shard.
        model: the model of this rank.

    Raises:
        UsageError: a rank has other weights than rank 0.
    """
    if isinstance(data, Shard):
        sums = (float(p.detach().sum(dtype=torch.float64)) for p in model.parameters() if p.is_floating_point())
        data.check_agreement(" ".join(f"{total:.6g}" for total in sums), "model")
