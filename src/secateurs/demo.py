"""The demo: a small residual network on handwritten digits, pruned to half its MACs by three criteria."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from secateurs.costs import latencies
from secateurs.errors import PersistError
from secateurs.evaluate import accuracy
from secateurs.persist import load
from secateurs.pipeline import Result, prune
from secateurs.preserve import evaluating, rng
from secateurs.progress import Progress, silent
from secateurs.recover import Recovery, finetune, recalibrate
from secateurs.report import Comparison, Outcome, write_report

CRITERIA = ("nexp", "l1", "random")
BUDGET = "macs:0.5"
EPOCHS, RECOVERY_EPOCHS = 15, 5
CALIBRATION = 64  # samples that NEXP looks at, as in its paper


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
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
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
        """[N, 1, 8, 8] to class scores [N, 10]."""
        x = functional.relu(self.bn(self.stem(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.head(x.mean((2, 3)))


@dataclass(frozen=True)
class Digits:
    """Scikit-learn's digits, split once and for all: three quarters to train on, a quarter to test on."""

    train: TensorDataset
    test: TensorDataset

    @classmethod
    def load(cls) -> Digits:
        """Read the images that scikit-learn ships; intensities are scaled to [0, 1]."""
        images, labels = load_digits(return_X_y=True)
        parts = train_test_split(images / 16, labels, test_size=0.25, random_state=0, stratify=labels)
        x, x_test, y, y_test = (torch.tensor(part) for part in parts)
        return cls(_dataset(x, y), _dataset(x_test, y_test))

    def batches(self, seed: int) -> DataLoader:
        """Shuffled training batches of 64."""
        return DataLoader(self.train, 64, shuffle=True, generator=torch.Generator().manual_seed(seed))

    def sample(self, seed: int) -> list[tuple[Tensor, ...]]:
        """A few training images, for scoring."""
        chosen = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))[:CALIBRATION]
        return [self.train[chosen]]

    def test_batches(self) -> DataLoader:
        """The test images."""
        return DataLoader(self.test, 256)


def train(digits: Digits, seed: int = 0, epochs: int = EPOCHS, progress: Progress = silent) -> nn.Module:
    """The dense network, trained from scratch."""
    with rng(seed):
        model = DigitsNet()
    finetune(model, digits.batches(seed), Recovery(epochs, lr=0.05), seed=seed, progress=progress)
    return model.eval()


@dataclass(frozen=True)
class Demo:
    """What the demo found.

    Attributes:
        comparison: the figures.
        reload_difference: largest difference between the outputs of a pruned model before saving and after loading.
    """

    comparison: Comparison
    reload_difference: float


def run(
    out: Path,
    seeds: int = 3,
    epochs: int = EPOCHS,
    recovery_epochs: int = RECOVERY_EPOCHS,
    progress: Progress = silent,
) -> Demo:
    """Train, prune by each criterion at equal budget, recover, save, load, and write the page.

    Args:
        out: a directory for the saved models (one per criterion) and the report.
        seeds: repetitions; each draws its own calibration images, random scores and order of training batches.
        epochs: of the dense training.
        recovery_epochs: of fine-tuning each pruned network.
        progress: wraps the rounds.

    Returns:
        What was found.

    Raises:
        PersistError: `out` cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)  # before anything slow
    except OSError as error:
        raise PersistError(f"the demo cannot be written to {out}: {error}") from error
    digits = Digits.load()
    dense = train(digits, epochs=epochs, progress=progress)
    results: dict[tuple[str, int], Result] = {}
    qualities: dict[tuple[str, int], dict[str, float]] = {}
    for seed, criterion in progress([(s, c) for s in range(seeds) for c in CRITERIA], "pruning and recovering"):
        result = results[criterion, seed] = prune(dense, digits.sample(seed), criterion, BUDGET, seed=seed)
        quality = qualities[criterion, seed] = {"cut": accuracy(result.model, digits.test_batches())}
        recalibrate(result.model, digits.batches(seed), dense, result.plan, result.structure)
        quality["recalibrated"] = accuracy(result.model, digits.test_batches())
        finetune(result.model, digits.batches(seed), Recovery(recovery_epochs, lr=0.02), seed=seed)
        quality["recovered"] = accuracy(result.model, digits.test_batches())
    images = digits.test.tensors[0]
    difference = 0.0
    for criterion in CRITERIA:
        result = results[criterion, 0]
        result.save(out / criterion, overwrite=True)
        loaded = load(out / criterion, DigitsNet)
        with evaluating(loaded), evaluating(result.model):
            difference = max(difference, float((loaded(images) - result.model(images)).abs().max()))
    times = latencies([dense, *(result.model for result in results.values())], images[:64], seconds=3)
    first = results[CRITERIA[0], 0]
    comparison = Comparison(
        title="Handwritten digits: half the MACs, three criteria",
        model="DigitsNet, a residual network of six blocks for 8×8 images",
        dense=first.dense_cost,
        quality=accuracy(dense, digits.test_batches()),
        units={name: group.size for name, group in first.structure.groups.items()},
        frozen=first.structure.frozen,
        outcomes=[
            Outcome(
                criterion=criterion,
                budget=BUDGET,
                seed=seed,
                cost=result.cost,
                latency=(times[0], time),
                quality=qualities[criterion, seed],
                keep=result.plan.keep,
                scores={name: scores.tolist() for name, scores in result.scores.items()} if seed == 0 else {},
            )
            for ((criterion, seed), result), time in zip(results.items(), times[1:], strict=True)
        ],
        command=f"secateurs demo --seeds {seeds}",
        notes=[
            f"Accuracy on {len(digits.test)} test images that nothing was chosen by, of the last epoch; mean and "
            f"standard deviation over {seeds} seeds, all from the same dense network. MACs are per image; latency is "
            f"of a batch of 64, the models taking turns. Recovery is {recovery_epochs} epochs for every criterion.",
            _verdict(qualities),
        ],
    )
    write_report(comparison, out)
    return Demo(comparison, difference)


def _verdict(qualities: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
    """Which criteria beat chance, from the data."""
    ends = {c: mean(its["recovered"] for (name, _), its in qualities.items() if name == c) for c in CRITERIA}
    better = [name for name in CRITERIA if ends[name] > ends["random"]]
    worse = [name for name in CRITERIA if name not in ("random", *better)]
    found = [f"{' and '.join(better)} ended above random" if better else "no criterion ended above random"]
    found += [f"{' and '.join(worse)} did not"] if better and worse else []
    return f"On this small network, after recovery, {'; '.join(found)}."


def _dataset(images: Tensor, labels: Tensor) -> TensorDataset:
    return TensorDataset(images.float().reshape(-1, 1, 8, 8), labels.long())
