"""The demo: a small residual network on handwritten digits, pruned to half its MACs by three criteria."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from secateurs.errors import PersistError
from secateurs.evaluate import accuracy, latencies
from secateurs.experiments.digits import EPOCHS, Digits, DigitsNet, train
from secateurs.experiments.report import Comparison, Outcome, write_report
from secateurs.persist import load
from secateurs.pruning import Result, prune
from secateurs.training import Recovery, finetune, recalibrate
from secateurs.utils import Progress, evaluating, silent

CRITERIA = ("nexp", "l1", "random")
BUDGET = "macs:0.5"
RECOVERY_EPOCHS = 5


@dataclass(frozen=True)
class Demo:
    """The result of the demo.

    Attributes:
        comparison: accuracies and costs.
        reload_difference: largest difference between the outputs of a pruned model before saving and after loading.
    """

    comparison: Comparison
    reload_difference: float


def run_demo(
    out: Path,
    seeds: int = 3,
    epochs: int = EPOCHS,
    recovery_epochs: int = RECOVERY_EPOCHS,
    progress: Progress = silent,
) -> Demo:
    """Train a network on digits, prune it by three criteria at equal budget, recover, save, load, and write a page.

    Args:
        out: directory for the saved models (one per criterion) and the report.
        seeds: repetitions; each draws other calibration images, random scores and orders of training batches.
        epochs: of the dense training.
        recovery_epochs: of fine-tuning each pruned network.
        progress: wraps the rounds.

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
        result = results[criterion, seed] = prune(
            dense, digits.sample(seed), criterion=criterion, budget=BUDGET, seed=seed
        )
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
            f"Accuracy on {len(digits.test)} test images, after the last epoch; no choice was made on these images. "
            f"Mean and standard deviation over {seeds} seeds, all from the same dense network. MACs are per image; "
            f"latency is for a batch of 64, measured in turns. Recovery takes {recovery_epochs} epochs each.",
            _verdict(qualities),
        ],
    )
    write_report(comparison, out)
    return Demo(comparison, difference)


def _verdict(qualities: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
    """Name the criteria whose accuracy is above that of random scores."""
    ends = {c: mean(stages["recovered"] for (name, _), stages in qualities.items() if name == c) for c in CRITERIA}
    better = [name for name in CRITERIA if ends[name] > ends["random"]]
    worse = [name for name in CRITERIA if name not in ("random", *better)]
    texts = [f"{' and '.join(better)} ended above random" if better else "no criterion ended above random"]
    texts += [f"{' and '.join(worse)} did not"] if better and worse else []
    return f"On this small network, after recovery, {'; '.join(texts)}."
