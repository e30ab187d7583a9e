"""Dynamics: how the scores of units move while a network trains, and when their order settles (NDI's Fig. 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from statistics import mean
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor, nn

from secateurs.criteria import parse_criterion
from secateurs.errors import UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.studies.agreement import correlation
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import curve, on_white, standalone
from secateurs.experiments.studies.retrain import architecture, check, train, untrained
from secateurs.experiments.studies.threads import one_thread, tiny
from secateurs.training import Tracker, optimizer_of, track
from secateurs.utils import INK, STYLE, WIDTH, Progress, legend, silent, spread

CRITERIA = ("ndi", "diversity", "informativeness", "fisher", "l1")
RANDOM = "random"
SETTLED = 0.9
"""An order has settled once its correlation with the last one stays at least as high."""

Rounds = Sequence[Mapping[str, "Course"]]
"""What was found: per seed and criterion."""

WHEN = ("at the start", "halfway", "at the end")
HEADERS = (
    "criterion",
    "group",
    *(f"mean {when}" for when in WHEN),
    *(f"order {when}" for when in WHEN[:2]),
    "settled, %",
)


@dataclass(frozen=True)
class Course:
    """What one seed showed of one criterion: per group, a value for each record.

    Attributes:
        mean: of the scores.
        correlation: of the order of the units with that of the last record (Spearman).
    """

    mean: Mapping[str, Sequence[float]]
    correlation: Mapping[str, Sequence[float]]

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Tensor]]) -> Course:
        """That of the scores in each record."""
        last = records[-1]
        return cls(
            {group: [float(its[group].mean()) for its in records] for group in last},
            {group: [correlation(its[group], last[group]) for its in records] for group in last},
        )

    def settled(self, group: str) -> float:
        """The share of the training after which the order of a group's units has settled; records are evenly spaced."""
        back = self.correlation[group][::-1]
        return 1 - (len(list(takewhile(lambda its: its >= SETTLED, back))) - 1) / (len(back) - 1)


def run_dynamics(
    job: Job,
    criteria: Sequence[str] = CRITERIA,
    seeds: int = 3,
    epochs: int = 10,
    records: int = 10,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Train from scratch, score all units at even intervals, and compare the orders on the way with the last one.

    Args:
        job: the model (re-initialised), the data to score on and to train on, and how to train.
        criteria: the first is the one that the sentence is about. Random scores, drawn anew each time, stand beside.
        seeds: repetitions, each with its own weights, calibration samples and order of training.
        epochs: of training.
        records: how often units are scored, besides the start.
        progress: wraps the epochs of each seed.
        command: how to do it again.

    Raises:
        UsageError: there are fewer than two records, or fewer steps of training than that.
        SecateursError: of the kind that `retrain.check`, `track` or `finetune` raise.
    """
    check(job, seeds, epochs)
    names = [name for name in dict.fromkeys(parse_criterion(its).name for its in criteria) if name != RANDOM]
    steps = epochs * -(-len(job.labelled()[0]) // job.recovery.grad_accumulation)  # type: ignore[arg-type]
    if job.recovery.patience is not None:
        raise UsageError("trainings are watched to their end: leave out --patience")
    if not names or not 2 <= records <= steps:
        raise UsageError(f"give a criterion besides random, and 2 to {steps} records (the steps of training)")
    model = architecture(job)
    rounds: list[Mapping[str, Course]] = []
    trackers: list[Tracker] = []
    with one_thread(tiny(model)):
        for seed in range(seeds):
            its = dataclasses.replace(job, seed=seed)
            shown = partial(_named, progress, f"seed {seed + 1} of {seeds}")
            tracker = _tracked(model, its, names, epochs, steps // records, shown)
            rounds.append(_courses(tracker, seed))
            trackers.append(tracker)
    figures = {"trajectories": on_white(trackers[0].figure())}
    return found(rounds, [its.step for its in trackers[0].history], figures, job, command)


def _named(progress: Progress, name: str, items: Iterable[Any], _: str) -> Iterable[Any]:
    return progress(items, name)


def _tracked(model: nn.Module, job: Job, names: Sequence[str], epochs: int, every: int, progress: Progress) -> Tracker:
    net = untrained(model, job)
    tracker = track(net, job.calibration(), names, every, seed=job.seed)

    def followed(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = optimizer_of(job.recovery, parameters)
        optimizer.register_step_post_hook(lambda *_: tracker.step())
        return optimizer

    train(net, job, epochs, followed, progress)
    return tracker


def _courses(tracker: Tracker, seed: int) -> dict[str, Course]:
    """Those of the tracked criteria, and of random scores."""
    first = next(iter(tracker.history[0].scores.values()))
    generator = torch.Generator().manual_seed(seed)
    chance = [
        {group: torch.rand(len(its), generator=generator) for group, its in first.items()} for _ in tracker.history
    ]
    tracked = {name: [record.scores[name] for record in tracker.history] for name in tracker.history[0].scores}
    return {name: Course.of(its) for name, its in {**tracked, RANDOM: chance}.items()}


def found(rounds: Rounds, steps: Sequence[int], figures: Mapping[str, str], job: Job, command: str) -> Finding:
    """What the rounds show, in words, as a table and as a picture beside those that there are."""
    first = next(iter(rounds[0]))
    groups = list(rounds[0][first].mean)
    return Finding(
        study="dynamics",
        title=f"Scores of the units of {job.model} while it trains",
        sentence=_sentence(rounds),
        headers=HEADERS,
        rows=[
            *(_row(rounds, first, [group], group) for group in groups),
            *(_row(rounds, name, list(rounds[0][name].mean), "all") for name in rounds[0]),
        ],
        data={"steps": steps, "rounds": [{n: dataclasses.asdict(its) for n, its in them.items()} for them in rounds]},
        command=command,
        notes=[
            f"Mean and standard deviation over {len(rounds)} seeds. The order is the rank correlation (Spearman) with "
            f"that of the last record, at step {steps[-1]}; it has settled at the share of the training from which on "
            f"it stays at {SETTLED:g} or above. Of all groups, the mean; random scores are drawn anew for each record. "
            "Batch norm has statistics of the data from the start. NDI is calibrated across the network at each step: "
            "it says how units stand among the others then, while its components are absolute.",
        ],
        figures={**figures, "settling": _picture(rounds, steps)},
    )


def _row(rounds: Rounds, name: str, groups: Sequence[str], label: str) -> list[str]:
    courses = [its[name] for its in rounds]
    middle = len(courses[0].mean[groups[0]]) // 2
    means = [spread([mean(its.mean[g][when] for g in groups) for its in courses], 3) for when in (0, middle, -1)]
    orders = [spread(_order(rounds, name, when, groups)) for when in (0, middle)]
    return [name, label, *means, *orders, spread(_settled(rounds, name, groups), 0, 100)]


def _order(rounds: Rounds, name: str, when: int, groups: Sequence[str] = ()) -> list[float]:
    """Per seed, the correlation of a record with the last, mean over groups."""
    return [mean(its[name].correlation[g][when] for g in groups or its[name].correlation) for its in rounds]


def _settled(rounds: Rounds, name: str, groups: Sequence[str] = ()) -> list[float]:
    return [mean(its[name].settled(g) for g in groups or its[name].correlation) for its in rounds]


def _sentence(rounds: Rounds) -> str:
    first, *others = rounds[0]
    courses = [its[first] for its in rounds]
    middle = len(next(iter(courses[0].mean.values()))) // 2
    gains = {g: mean(its.mean[g][-1] - its.mean[g][0] for its in courses) for g in courses[0].mean}
    most, least = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    settled = {name: mean(_settled(rounds, name)) for name in others}
    beside = ", ".join(f"{name}: {100 * its:.0f} %" for name, its in settled.items())
    return (
        f"The order of units by {first} at the start of training correlates at {spread(_order(rounds, first, 0))} with "
        f"that at the end (random: {spread(_order(rounds, RANDOM, 0))}), halfway at "
        f"{spread(_order(rounds, first, middle))}, and settles (≥ {SETTLED:g}) after "
        f"{spread(_settled(rounds, first), 0, 100)} % of it ({beside}); on the way the mean {first} of a group changes "
        f"by {gains[least]:+.2f} ({least}) to {gains[most]:+.2f} ({most})."
    )


def _picture(rounds: Rounds, steps: Sequence[int]) -> str:
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for number, name in enumerate(rounds[0]):
            curve(axes, steps, [_order(rounds, name, when) for when in range(len(steps))], number, name)
        axes.axhline(SETTLED, color=INK, lw=0.8, ls=":")
        axes.set_xlabel("training step")
        axes.set_ylabel("rank correlation with the last")
        legend(figure, *axes.get_legend_handles_labels())
        return standalone(figure, "When the order of units settles in training")
