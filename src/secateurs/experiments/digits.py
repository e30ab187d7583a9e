"""A small network and a small data set of handwritten digits, for the demo and the studies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from secateurs.training import Recovery, finetune
from secateurs.utils import Progress, require, rng, silent

DIGITS = "digits"
"""The name of the network and of the images on the command line."""

EPOCHS = 15
CALIBRATION = 64  # samples for scoring, as in the paper of NEXP


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class DigitsNet(nn.Module):
    """Residual network for 8×8 grey images of ten digits."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.stage1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1))
        self.stage2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.stage3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, 1, 8, 8] to class scores [N, 10]."""
        x = functional.relu(self.bn(self.stem(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.head(x.mean((2, 3)))


@dataclass(frozen=True)
class Digits:
    """Scikit-learn's digits in a fixed split: three quarters for training, a quarter for testing."""

    train: TensorDataset
    test: TensorDataset

    @classmethod
    def load(cls) -> Digits:
        """Read the images that scikit-learn contains, with intensities in [0, 1]."""
        require("sklearn", "digits")
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        parts = train_test_split(images / 16, labels, test_size=0.25, random_state=0, stratify=labels)
        x, x_test, y, y_test = (torch.tensor(part) for part in parts)
        return cls(_dataset(x, y), _dataset(x_test, y_test))

    def batches(self, seed: int) -> DataLoader:
        """Batches of 64 training images, shuffled by the seed."""
        return DataLoader(self.train, 64, shuffle=True, generator=torch.Generator().manual_seed(seed))

    def sample(self, seed: int) -> list[tuple[Tensor, ...]]:
        """One batch of training images for scoring, drawn by the seed."""
        indices = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))[:CALIBRATION]
        return [self.train[indices]]

    def test_batches(self) -> DataLoader:
        """Batches of 256 test images."""
        return DataLoader(self.test, 256)


def train(digits: Digits, seed: int = 0, epochs: int = EPOCHS, progress: Progress = silent) -> nn.Module:
    """Train the dense network from scratch."""
    with rng(seed):
        model = DigitsNet()
    finetune(model, digits.batches(seed), Recovery(epochs, lr=0.05), seed=seed, progress=progress)
    return model.eval()


def _dataset(images: Tensor, labels: Tensor) -> TensorDataset:
    return TensorDataset(images.float().reshape(-1, 1, 8, 8), labels.long())
