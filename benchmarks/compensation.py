"""What compensation gives on a trained ResNet-56, without any training (needs ../shared).

    python -m benchmarks.compensation       # about 10 minutes; writes benchmarks/results/compensation.{json,md}

Half of every block's inner channels go, chosen by each criterion from 512 training images, which compensation also
sees. Accuracy is on 1,000 test images that nothing was chosen by: after the cut, after compensation, and each with
batch norm recalibrated on 2,048 training images.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import torch

import secateurs as sc
from benchmarks.cifar_resnet import cifar10, resnet
from secateurs.report import environment
from secateurs.tables import markdown, spread

RESULTS = Path(__file__).parent / "results"
CRITERIA = ("random", "l1", "l2", "nexp", "flap", "obs")
INNER = ("conv1", "bn1", "*.conv2", "*.bn2", "linear")  # what is kept: all but the blocks' inner channels
STAGES = ("cut", "cut, recalibrated", "compensated", "compensated, recalibrated")
SEEDS = 2


def main() -> None:
    """Measure and write the results."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model, test = resnet(56), cifar10("test", 1000)
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in range(SEEDS):
        images, others = cifar10("train", 512, seed), cifar10("train", 2048, 100 + seed)
        for criterion in CRITERIA:
            for stage, compensate in (("cut", False), ("compensated", True)):
                how = {"scope": "local", "keep": INNER, "seed": seed}
                small = sc.prune(model, images, criterion, "keep:0.5", compensate=compensate, **how).model
                found[criterion][stage].append(sc.accuracy(small, test))
                sc.recalibrate(small, others)
                found[criterion][f"{stage}, recalibrated"].append(sc.accuracy(small, test))
            print(seed, criterion, {s: its[-1] for s, its in found[criterion].items()}, file=sys.stderr, flush=True)
    dense = sc.accuracy(model, test)
    (RESULTS / "compensation.json").write_text(
        json.dumps({"environment": environment(), "dense": dense, "accuracy": found}, indent=1)
    )
    (RESULTS / "compensation.md").write_text(page(dense, found))


def page(dense: float, found: dict[str, dict[str, list[float]]]) -> str:
    """The results as text."""
    lines = [
        "# What compensation gives",
        "",
        "`python -m benchmarks.compensation`: ResNet-56 on CIFAR-10, half of all inner channels gone, no training; "
        f"per cent on 1,000 test images, mean ± standard deviation over {SEEDS} seeds. Dense: {100 * dense:.1f}.",
        "",
    ]
    rows = [[name, *(spread(its[stage], 1, 100) for stage in STAGES)] for name, its in found.items()]
    return "\n".join(lines) + "\n" + markdown(["criterion", *STAGES], rows)


if __name__ == "__main__":
    main()
