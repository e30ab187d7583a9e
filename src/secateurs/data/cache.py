"""Data kept in memory, so that every pass reads the same samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from secateurs.data.batch import batches
from secateurs.data.shard import map_data
from secateurs.utils import rng


def cache_batches(data: Iterable[Any]) -> Any:
    """Read all batches into a list of (call, targets). Random states are restored.

    Args:
        data: see `batches`. Each rank of a shard reads its own batches, and the result is a shard again.

    Raises:
        DataError: the data is empty or has an invalid form.
    """
    with rng():  # a loader that shuffles draws random numbers
        return map_data(lambda part: [(batch.call, batch.targets) for batch in batches(part)], data)
