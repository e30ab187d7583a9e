"""CIFAR-10 in memory, and batches of it."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.cifar_resnet import MEAN, STD
from benchmarks.shared import load

Batches = list[tuple[Tensor, Tensor]]


@cache
def _pixels(split: str) -> tuple[Tensor, Tensor]:
    """Images uint8 [N, 32, 32, 3] and labels [N]."""
    images, labels = load().cifar10(split)
    return torch.from_numpy(images), torch.from_numpy(labels)


def cifar10(split: str, count: int | None = None, seed: int | None = None) -> TensorDataset:
    """Images as the weights expect them, in channels-last order: the first, or those that the seed draws; or all."""
    images, labels = _pixels(split)
    if seed is not None:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
        images, labels = images[order], labels[order]
    x = (images[:count].float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return TensorDataset(x.movedim(-1, 1), labels[:count])


def batches(data: TensorDataset, size: int = 64) -> Batches:
    """All of it, in its order."""
    x, y = data.tensors
    return list(zip(x.split(size), y.split(size), strict=True))


def training(data: TensorDataset, seed: int, size: int = 128) -> DataLoader:
    """Shuffled batches of images that are cropped and flipped at random."""
    return DataLoader(
        data, size, shuffle=True, collate_fn=_augmented, generator=torch.Generator().manual_seed(seed), drop_last=True
    )


def _augmented(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Each image moved by up to 4 pixels, with zeros beyond the edge, and mirrored or not."""
    x = functional.pad(torch.stack([image for image, _ in samples]), (4, 4, 4, 4))
    rows, columns = torch.randint(0, 9, (2, len(x), 1))
    at = torch.arange(32)
    flipped = torch.rand(len(x), 1) < 0.5
    across = columns + torch.where(flipped, at.flip(0), at)
    which = torch.arange(len(x))[:, None, None]
    moved = x.movedim(1, -1)[which, (rows + at)[:, :, None], across[:, None, :]]
    return moved.movedim(-1, 1), torch.stack([label for _, label in samples])
