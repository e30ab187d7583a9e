"""Data kept in memory, so that a model is judged by the same samples again and again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from secateurs.data.batch import batches
from secateurs.data.shard import map_data
from secateurs.utils import rng


def cache_batches(data: Iterable[Any]) -> Any:
    """All batches, read once and now; of a shard, each rank's own. Random states are as before."""
    with rng():  # a loader may draw random numbers to shuffle
        return map_data(lambda part: [(batch.call, batch.targets) for batch in batches(part)], data)
