"""What is random in an epoch follows from its number, so that a training that was cut off goes on as it would have."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from secateurs.data import Shard
from secateurs.training.partition import PaddedShard, RoundRobin
from secateurs.utils import rng


@contextmanager
def randomness(seed: int, epoch: int, *data: Any) -> Iterator[None]:
    """Seed Python, NumPy, torch, and the generators of `data` by (seed, epoch); restore all on leaving.

    Whatever part of the data has `set_epoch` is told the epoch.
    """
    number = random.Random(f"{seed} {epoch}").getrandbits(63)
    parts = [part for item in data for part in _parts(item)]
    generators = {g for part in parts if isinstance(g := getattr(part, "generator", None), torch.Generator)}
    before = {generator: generator.get_state() for generator in generators}
    for part in parts:
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
    for generator in generators:
        generator.manual_seed(number)
    try:
        with rng(number):
            yield
    finally:
        for generator, state in before.items():
            generator.set_state(state)


def _parts(data: Any) -> Iterator[Any]:
    """A data loader, its samplers and its data sets (or whatever else is data), which may hold generators."""
    yield data
    if isinstance(data, (Shard, RoundRobin, PaddedShard)):
        yield from _parts(data.data)
    for name in ("batch_sampler", "sampler", "dataset"):
        part = getattr(data, name, None)
        if part is not None:
            yield from _parts(part)
