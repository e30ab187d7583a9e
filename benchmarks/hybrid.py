"""One weight for all layers, or one for each: L1 and NEXP mixed on a trained ResNet-20 (needs ../shared).

    python -m benchmarks.hybrid             # about 10 minutes on one core; writes benchmarks/results/hybrid.{json,md}

Nothing is trained. Every mixture sees the same 512 training images; the automatic one scores on every second batch of
them and chooses its weights on the others. Accuracy is on 2,000 test images that nothing was chosen by, after the cut
(with compensation) and after batch norm was recalibrated on 2,048 training images.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import torch

import secateurs as sc
from benchmarks.cifar_resnet import resnet
from benchmarks.listing import listed
from benchmarks.real.data import batches, cifar10
from secateurs.criteria.tune import ALPHAS
from secateurs.evaluate.quality import accuracy
from secateurs.utils.environment import environment
from secateurs.utils.tables import format_mean, markdown

RESULTS = Path(__file__).parent / "results"
BUDGETS = (("keep:0.5", "local"), ("macs:0.5", "global"))
SEEDS = 3


def main() -> None:
    """Measure and write the results."""
    names = [*(f"α = {a:g}" for a in ALPHAS), "α = auto, per layer", "random", "l2"]
    if listed(f"seed={s} {name} {' '.join(b)}" for s in range(SEEDS) for name in names for b in BUDGETS):
        return
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model, test = resnet(20), batches(cifar10("test", 2000), 256)
    mixtures: dict[str, str | sc.Hybrid] = {f"α = {a:g}": sc.Hybrid(("l1", "nexp"), alpha=a) for a in ALPHAS}
    mixtures |= {"α = auto, per layer": sc.Hybrid(("l1", "nexp"), alpha="auto"), "random": "random", "l2": "l2"}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in range(SEEDS):
        images = batches(cifar10("train", 512, seed))
        others = batches(cifar10("train", 2048, 100 + seed))
        for name, mixture in mixtures.items():
            for budget, scope in BUDGETS:
                result = sc.prune(model, images, criterion=mixture, budget=budget, scope=scope, seed=seed)
                found[name][f"{budget} cut"].append(accuracy(result.model, test))
                sc.recalibrate(result.model, others)
                found[name][f"{budget} recalibrated"].append(accuracy(result.model, test))
            print(seed, name, {stage: values[-1] for stage, values in found[name].items()}, file=sys.stderr, flush=True)
    dense = accuracy(model, test)
    (RESULTS / "hybrid.json").write_text(
        json.dumps({"environment": environment(), "dense": dense, "accuracy": found}, indent=1, ensure_ascii=False)
    )
    (RESULTS / "hybrid.md").write_text(page(dense, found))


def page(dense: float, found: dict[str, dict[str, list[float]]]) -> str:
    """The results as text."""
    stages = list(next(iter(found.values())))
    lines = [
        "# One weight for all layers, or one for each",
        "",
        "`python -m benchmarks.hybrid`: ResNet-20 on CIFAR-10, L1 and NEXP mixed, no training; per cent on 2,000 test "
        f"images, mean ± standard deviation over {SEEDS} seeds. Dense: {100 * dense:.1f}.",
        "",
    ]
    rows = [[name, *(format_mean(its[stage], 1, 100) for stage in stages)] for name, its in found.items()]
    return "\n".join(lines) + "\n" + markdown(["mixture", *stages], rows)


if __name__ == "__main__":
    main()
