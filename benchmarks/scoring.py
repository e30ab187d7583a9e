"""What scoring costs: time over a bare forward pass on the same batches, and peak memory, per criterion.

    python -m benchmarks.scoring            # about 40 minutes; writes benchmarks/results/scoring.{json,md}

Rows that are there already are kept: delete one, or the file, to measure it again.

Each figure comes from a process of its own, in which scoring and bare passes take turns. Criteria that look at the same
data share one pass, so a row of several criteria costs less than the sum of its parts.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import secateurs as sc
from benchmarks import torchvision_ops  # noqa: F401 (before torchvision)
from benchmarks.cifar_resnet import CifarResNet
from benchmarks.listing import listed
from secateurs.criteria.collect import memory_of
from secateurs.criteria.registry import CRITERIA
from secateurs.observe.observe import observe
from secateurs.observe.statistics import Statistic
from secateurs.utils.environment import environment
from secateurs.utils.tables import render

RESULTS = Path(__file__).parent / "results"
FIVE = ("nexp", "apoz", "mean-activation", "wanda", "flap")
SLOW = {"hrank": 4, "chip": 2}  # criteria that look at so few samples only
SAMPLES = {"resnet56": 64, "resnet50": 16, "transformer": 16}
ROWS = [list(FIVE), *([name] for name in CRITERIA)]
REPEATS = 5
ENOUGH = 8  # seconds after which no further repetition of a figure begins
LIMIT = 60  # seconds for one figure


class Encoder(nn.Module):
    """Twelve layers as in BERT, on 128 embedded tokens."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(384, 6, 1536, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.head = nn.Linear(384, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[N, tokens, 384] to [N, 10]."""
        return self.head(self.layers(x).mean(1))


def build(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A model with random weights and the shape of one input."""
    torch.manual_seed(0)
    if name == "resnet56":
        return CifarResNet(9), (3, 32, 32)
    if name == "transformer":
        return Encoder(), (128, 384)
    from torchvision.models import resnet50

    return resnet50(), (3, 224, 224)


def labelled(shape: tuple[int, ...], samples: int, size: int = 64) -> list[tuple[Tensor, Tensor]]:
    """Batches of random inputs with random labels."""
    x = torch.randn(samples, *shape)
    return list(zip(x.split(size), torch.randint(10, (samples,)).split(size), strict=True))


def measure(name: str, criteria: list[str]) -> dict[str, Any]:
    """One figure, in this process."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # two threads on a busy machine wait for each other
    model, shape = build(name)
    data = labelled(shape, min([SAMPLES[name], *(SLOW[c] for c in criteria if c in SLOW)]))
    structure = sc.trace(model, data[0][0][:2])
    bare(model, data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ratios, end = [], time.perf_counter() + ENOUGH
    while len(ratios) < REPEATS and (not ratios or time.perf_counter() < end):
        start = time.perf_counter()
        bare(model, data)
        middle = time.perf_counter()
        sc.score_many(model, data, criteria, structure)
        ratios.append((time.perf_counter() - middle) / (middle - start))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    leaves = [leaf for criterion in criteria for leaf in CRITERIA[criterion].leaves]
    return {
        "samples": sum(len(x) for x, _ in data),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "peak_mb": (peak - before) / 1024,
        "stated_mb": memory_of(leaves, structure, sum(len(x) for x, _ in data)) / 2**20,
    }


def bare(model: nn.Module, data: list[Any]) -> None:
    """A forward pass and nothing else."""
    model.eval()
    with torch.no_grad():
        for x, _ in data:
            model(x)


class Pairs(Statistic):
    """NEXP as the paper computes it: all pairs of inputs, compared position by position."""

    shareable = False

    def __init__(self, values: list[Tensor] | None = None):
        self.values = values or []

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None) -> Pairs:
        """The binarised activations of one batch."""
        return cls([x.reshape(*x.shape[:2], -1) > 0])

    def merge(self, other: Pairs) -> Pairs:
        """The activations of both."""
        return Pairs([*self.values, *other.values])

    def state(self) -> dict[str, Any]:
        """The activations."""
        return {"values": self.values}

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One byte per sample, unit and position."""
        return samples * units * positions

    def score(self) -> Tensor:
        """The mean distance of two inputs, per unit."""
        units = torch.cat(self.values).movedim(1, 0)  # [units, samples, positions]
        return torch.stack([_mean_distance(maps) for maps in units])


def _mean_distance(maps: Tensor) -> Tensor:
    total = sum((maps[i] != maps[i + 1 :]).float().mean(1).sum() for i in range(len(maps) - 1))
    return torch.as_tensor(total) / len(list(combinations(range(len(maps)), 2)))


def pairwise(samples: int) -> dict[str, Any]:
    """The paper's form of NEXP against ours, on ResNet-56: whole scoring, and without the forward pass."""
    torch.set_num_threads(1)
    model, shape = build("resnet56")
    data = labelled(shape, samples, 64)
    structure = sc.trace(model, data[0][0][:2])
    start = time.perf_counter()
    bare(model, data)
    forward = time.perf_counter() - start
    start = time.perf_counter()
    ours = sc.score(model, data, "nexp", structure)
    mine = time.perf_counter() - start
    start = time.perf_counter()
    taps = {tap: [Pairs] for group in structure.groups.values() for tap in group.after}
    found = observe(model, data, taps)
    scores = {
        group.name: torch.stack([found[tap, Pairs].score() for tap in group.after]).mean(0)
        for group in structure.groups.values()
    }
    theirs = time.perf_counter() - start
    worst = max(float((ours[name] - its).abs().max()) for name, its in scores.items())
    return {
        "samples": samples,
        "difference": worst,
        "speedup": theirs / mine,
        "speedup_without_forward": (theirs - forward) / max(mine - forward, 0.01 * forward),
    }


def alone(*arguments: str) -> dict[str, Any]:
    """A figure from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scoring", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {LIMIT} s"}
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip().splitlines()[-1]}


def main() -> None:
    """Measure everything and write the results."""
    if listed(f"{model} {' '.join(names)}" for model in SAMPLES for names in ROWS):
        return
    if sys.argv[1:]:
        what, *names = sys.argv[1:]
        print(json.dumps(pairwise(int(names[0])) if what == "pairwise" else measure(what, names)))
        return
    path = RESULTS / "scoring.json"
    found = json.loads(path.read_text()) if path.exists() else {"rows": [], "pairwise": []}
    found["environment"] = environment()
    done = {(row["model"], *row["criteria"]) for row in found["rows"]}
    for model in SAMPLES:
        for criteria in ROWS:
            if (model, *criteria) not in done:
                found["rows"].append({"model": model, "criteria": criteria, **alone(model, *criteria)})
                print(found["rows"][-1], file=sys.stderr, flush=True)
                path.write_text(json.dumps(found, indent=1))
    if not found["pairwise"]:
        found["pairwise"] = [alone("pairwise", str(samples)) for samples in (64, 256)]
    path.write_text(json.dumps(found, indent=1))
    (RESULTS / "scoring.md").write_text(page(found["rows"], found["pairwise"]))


def page(rows: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> str:
    """The results as text."""
    cells = []
    for row in rows:
        figures = (
            ("", "", "")
            if "error" in row
            else (f"{row['ratio']:.2f}", f"{row['peak_mb']:.0f}", f"{row['stated_mb']:.0f}")
        )
        cells.append((row["model"], " ".join(row["criteria"]), row.get("samples", ""), *figures, row.get("error", "")))
    headers = ("model", "criteria", "samples", "time / forward pass", "peak MB", "stated MB", "")
    other = ("samples", "largest difference", "times faster", "times faster, without the forward pass")
    return (
        "# What scoring costs\n\n"
        "`python -m benchmarks.scoring`: the median of up to five ratios, scoring and bare passes\n"
        "taking turns, one thread. Peak memory is what the process needed beyond a bare pass; the stated one is what\n"
        "statistics keep.\n\n```\n"
        + render("", headers, cells)
        + render(
            "\nNEXP against the pairwise form, ResNet-56",
            other,
            [
                tuple(f"{pair[key]:.3g}" for key in ("samples", "difference", "speedup", "speedup_without_forward"))
                for pair in pairs
                if "error" not in pair
            ],
        )
        + "```\n"
    )


if __name__ == "__main__":
    main()
