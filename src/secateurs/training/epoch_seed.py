"""Random numbers of an epoch depend only on (seed, epoch), so that a resumed run equals an uninterrupted one."""

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
    """Seed Python, NumPy, torch and all generators of the data by (seed, epoch). All states are restored on exit.

    Args:
        seed: seed of the training run.
        epoch: number of the epoch. It is passed to `set_epoch` of every part of the data that has this method.
        *data: data loaders, data sets, samplers or shards.
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
    """Yield the data and its parts (underlying data, samplers, data sets), which may have generators."""
    yield data
    if isinstance(data, (Shard, RoundRobin, PaddedShard)):
        yield from _parts(data.data)
    for name in ("batch_sampler", "sampler", "dataset"):
        part = getattr(data, name, None)
        if part is not None:
            yield from _parts(part)
