"""The activations study: NEXP's threshold in networks with activations other than ReLU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from secateurs.criteria import score_many
from secateurs.data import first_batch
from secateurs.errors import UsageError
from secateurs.evaluate import accuracy
from secateurs.experiments.digits import DIGITS
from secateurs.experiments.job import Job
from secateurs.experiments.studies.activations_finding import CRITERIA, ZERO, ActivationScores, summarise
from secateurs.experiments.studies.agreement import correlation
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.retrain import (
    EPOCHS,
    RECOVERY_EPOCHS,
    SeedResult,
    check,
    test_data,
    trained,
    untrained,
)
from secateurs.experiments.studies.swap import ACTIVATIONS, swap_activations
from secateurs.experiments.studies.threads import is_tiny, one_thread
from secateurs.pruning import prune
from secateurs.structure import trace
from secateurs.utils import Progress, rng, silent


def network() -> nn.Module:
    """The network for the digits: three convolutions and a hidden layer; every activation is a module."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def run_activations(
    job: Job,
    names: Sequence[str] = tuple(ACTIVATIONS),
    seeds: int = 3,
    epochs: int = EPOCHS,
    recovery_epochs: int = RECOVERY_EPOCHS,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Train a network with each activation, and compare NEXP with threshold 0 to NEXP with the median as threshold.

    Args:
        job: names the model (re-initialised; "digits" stands for `network`), the data, the budget, the options of
            pruning and training, and the test data.
        names: of `ACTIVATIONS`; they replace the model's activations.
        seeds: repetitions, each with other weights, calibration samples, random scores and order of training.
        epochs: of training from scratch.
        recovery_epochs: after the cut; the dense network is trained on for as long.
        progress: wraps activations × seeds.
        command: the command that repeats the study.

    Raises:
        UsageError: an activation is unknown.
        ModelError: the model's activations cannot be replaced.
        SecateursError: as raised by `retrain.check`, `score_many`, `prune` or `finetune`.
    """
    check(job, seeds, epochs, recovery_epochs)
    if unknown := [name for name in names if name not in ACTIVATIONS]:
        raise UsageError(f"unknown activation {unknown[0]!r}: choose from {', '.join(ACTIVATIONS)}")
    test, model, results = test_data(job), _model(job), {name: [] for name in names}
    with one_thread(is_tiny(model)):
        for name, seed in progress([(n, s) for n in results for s in range(seeds)], "training and pruning"):
            seeded = job.with_config(seed=seed)
            results[name].append(_measure(model, name, seeded, (epochs, recovery_epochs), test))
    return summarise(results, job, (epochs, recovery_epochs), command)


def _model(job: Job) -> nn.Module:
    if job.model != DIGITS:
        return job.dense()
    with rng(job.config.seed):
        return network()


def _measure(
    model: nn.Module, activation: str, job: Job, epochs: tuple[int, int], test: Iterable[Any]
) -> SeedResult[ActivationScores]:
    """Train with one activation and one seed, score, prune by each criterion, and recover."""
    data = job.calibration()
    batch = first_batch(data)
    net = trained(untrained(swap_activations(model, activation, batch.sample(1)), job), job, epochs[0])
    structure = trace(net, batch.sample(2), job.config.keep, job.config.kinds)
    scores = score_many(net, data, CRITERIA, structure, aggregate=job.config.aggregate, seed=job.config.seed)

    def accuracy_after_training(pruned: nn.Module) -> float:
        return accuracy(trained(pruned, job, epochs[1]), test)

    def measure(criterion: str) -> ActivationScores:
        groups = scores[criterion]
        pruned = prune(net, data, config=job.config.replace(criterion=criterion).without_training()).model
        return ActivationScores(
            spread={group: _variation(values) for group, values in groups.items()},
            level={group: max(Counter(values.tolist()).values()) / len(values) for group, values in groups.items()},
            correlation={group: correlation(values, scores[ZERO][group]) for group, values in groups.items()},
            accuracy=accuracy_after_training(pruned),
        )

    return SeedResult(accuracy_after_training(net), {criterion: measure(criterion) for criterion in CRITERIA})


def _variation(scores: Tensor) -> float:
    """The coefficient of variation; 0 for scores that are all zero."""
    return float(scores.std(correction=0) / scores.mean().abs()) if scores.any() else 0.0
