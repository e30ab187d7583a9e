"""A small VGG for CIFAR-10, trained here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
from torch import nn

import secateurs as sc
from benchmarks.real.data import cifar10, training
from secateurs.utils.atomic_write import atomic_path
from secateurs.utils.restore import rng

WIDTHS = (16, "pool", 32, "pool", 64, 64, "pool", 64)
SLOPE = 0.1
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "leaky-relu": lambda: nn.LeakyReLU(SLOPE)}
BATCH = 128


def untrained(activation: str, seed: int) -> nn.Module:
    """3×3 convolutions with batch norm, the mean over what is left of the image, and a linear classifier."""
    layers: list[nn.Module] = []
    width = 3
    with rng(seed):
        for its in WIDTHS:
            if isinstance(its, int):
                convolution = nn.Conv2d(width, its, 3, padding=1, bias=False)
                layers += [convolution, nn.BatchNorm2d(its), ACTIVATIONS[activation]()]
                width = its
            else:
                layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)).eval()


def from_scratch(epochs: int) -> sc.Recovery:
    """How an untrained network is trained."""
    return sc.Recovery(epochs=epochs, lr=0.1, warmup=0.1)


def train(model: nn.Module, recipe: sc.Recovery, images: int, seed: int) -> nn.Module:
    """Train a model in place on so many images, which the seed draws; crops and flips."""
    sc.finetune(model, training(cifar10("train", images, seed), seed, BATCH), recipe, seed=seed)
    return model


def trained(activation: str, images: int, epochs: int, seed: int) -> nn.Module:
    """The network after its training, which is kept in the system's temporary directory."""
    model = untrained(activation, seed)
    path = Path(tempfile.gettempdir()) / "secateurs-vgg" / f"{activation}-{images}-{epochs}-{seed}.safetensors"
    if path.exists():
        model.load_state_dict(safetensors.torch.load_file(path))
        return model
    train(model, from_scratch(epochs), images, seed)
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(model.state_dict(), temporary)
    return model
