"""The dynamics study: the scores of units during training, and when their order settles (NDI's Fig. 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from secateurs.criteria import parse_criterion
from secateurs.errors import UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.studies.dynamics_finding import RANDOM, Course, summarise
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import on_white
from secateurs.experiments.studies.retrain import architecture, check, train, untrained
from secateurs.experiments.studies.threads import is_tiny, one_thread
from secateurs.training import Tracker, make_optimizer, track
from secateurs.utils import Progress, silent

CRITERIA = ("ndi", "diversity", "informativeness", "fisher", "l1")


def run_dynamics(
    job: Job,
    criteria: Sequence[str] = CRITERIA,
    seeds: int = 3,
    epochs: int = 10,
    records: int = 10,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Train from scratch, score all units at even intervals, and compare each order with the last one.

    Args:
        job: names the model (re-initialised), the data to score on and to train on, and the recipe of training.
        criteria: the sentence is about the first one. Random scores, drawn anew for each record, are added.
        seeds: repetitions, each with other weights, calibration samples and order of training.
        epochs: of training.
        records: number of scorings after the first, which is at the start.
        progress: wraps the epochs of each seed.
        command: the command that repeats the study.

    Raises:
        UsageError: there are fewer than two records, or fewer steps of training than records.
        SecateursError: as raised by `retrain.check`, `track` or `finetune`.
    """
    check(job, seeds, epochs)
    names = [name for name in dict.fromkeys(parse_criterion(text).name for text in criteria) if name != RANDOM]
    steps = epochs * -(-len(job.labelled()[0]) // job.recipe.grad_accumulation)  # type: ignore[arg-type]
    if job.recipe.patience is not None:
        raise UsageError("this study trains for a fixed number of epochs: leave out --patience")
    if not names or not 2 <= records <= steps:
        raise UsageError(f"give a criterion besides random, and 2 to {steps} records (the steps of training)")
    model = architecture(job)
    results: list[Mapping[str, Course]] = []
    trackers: list[Tracker] = []
    with one_thread(is_tiny(model)):
        for seed in range(seeds):
            seeded = job.with_config(seed=seed)
            shown = partial(_with_label, progress, f"seed {seed + 1} of {seeds}")
            tracker = _track_training(model, seeded, names, epochs, steps // records, shown)
            results.append(_courses(tracker, seed))
            trackers.append(tracker)
    figures = {"trajectories": on_white(trackers[0].figure())}
    return summarise(results, [record.step for record in trackers[0].history], figures, job, command)


def _with_label(progress: Progress, label: str, items: Iterable[Any], _: str) -> Iterable[Any]:
    return progress(items, label)


def _track_training(
    model: nn.Module, job: Job, names: Sequence[str], epochs: int, every: int, progress: Progress
) -> Tracker:
    """Train a re-initialised copy, and record the scores after every so many steps."""
    net = untrained(model, job)
    tracker = track(net, job.calibration(), names, every, seed=job.config.seed)

    def tracked_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = make_optimizer(job.recipe, parameters)
        optimizer.register_step_post_hook(lambda *_: tracker.step())
        return optimizer

    train(net, job, epochs, tracked_optimizer, progress)
    return tracker


def _courses(tracker: Tracker, seed: int) -> dict[str, Course]:
    """The courses of the tracked criteria, and of random scores."""
    first = next(iter(tracker.history[0].scores.values()))
    generator = torch.Generator().manual_seed(seed)
    random = [
        {group: torch.rand(len(scores), generator=generator) for group, scores in first.items()}
        for _ in tracker.history
    ]
    tracked = {name: [record.scores[name] for record in tracker.history] for name in tracker.history[0].scores}
    return {name: Course.of(records) for name, records in {**tracked, RANDOM: random}.items()}
