"""Samples to score on: drawn from a data set at random or class by class, or artificial inputs of the same shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset, default_collate

SOURCES = ("random", "stratified", "gaussian", "shuffled")


@dataclass(frozen=True)
class Draws:
    """Draws samples from a part of a data set, or makes artificial ones.

    Attributes:
        dataset: returns (inputs,) or (inputs, target) for an index.
        pool: indices of the samples that may be drawn, in the order of drawing.
        labels: the class of every sample of the data set; None without classes.
        batch_size: samples per batch.
        seed: of artificial inputs.
    """

    dataset: Any
    pool: Sequence[int]
    labels: Sequence[int] | None
    batch_size: int
    seed: int

    def of(self, source: str, size: int) -> list[Any]:
        """Draw samples, in batches; a larger draw from the data set begins with the smaller one.

        Args:
            source: "random" takes the first samples of the pool; "stratified" takes equally many of each class, as far
                as possible; "gaussian" gives standard normal numbers and "shuffled" the values of each input in random
                order, both with the labels of the first samples of the pool.
            size: number of samples.
        """
        order = self._by_class if source == "stratified" else self.pool
        batches: list[Any] = list(DataLoader(Subset(self.dataset, list(order[:size])), self.batch_size))
        if source in ("random", "stratified"):
            return batches
        generator = torch.Generator().manual_seed(self.seed)
        change = _gaussian if source == "gaussian" else _shuffled
        return [[change(inputs, generator), *targets] for inputs, *targets in batches]

    @cached_property
    def _by_class(self) -> list[int]:
        """The pool in another order: the first sample of every class, then the second of every class, and so on."""
        assert self.labels is not None, "stratified draws need classes"
        seen: Counter[int] = Counter()
        turns = []
        for index in self.pool:
            turns.append(seen[self.labels[index]])
            seen[self.labels[index]] += 1
        return [index for _, index in sorted(zip(turns, self.pool, strict=True), key=lambda pair: pair[0])]


def labels_of(dataset: Any) -> list[int] | None:
    """The class of every sample; None if there are no targets, or they are not class numbers."""
    if len(dataset[0]) < 2:
        return None
    targets = default_collate([dataset[index][1] for index in range(len(dataset))])
    return targets.tolist() if targets.ndim == 1 and not targets.is_floating_point() else None


def _gaussian(inputs: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(inputs.shape, generator=generator).to(inputs)


def _shuffled(inputs: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.rand(inputs.flatten(1).shape, generator=generator).argsort(1)
    return inputs.flatten(1).gather(1, order).reshape(inputs.shape)
