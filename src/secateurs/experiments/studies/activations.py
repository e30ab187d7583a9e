"""Activations: what NEXP's threshold makes of networks with non-linearities other than ReLU."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor, nn

from secateurs.criteria import score_many
from secateurs.data import first_batch
from secateurs.errors import UsageError
from secateurs.evaluate import accuracy
from secateurs.experiments.digits import DIGITS
from secateurs.experiments.job import Job
from secateurs.experiments.studies.agreement import correlation
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import standalone
from secateurs.experiments.studies.points import points
from secateurs.experiments.studies.retrain import EPOCHS, RECOVERY_EPOCHS, SeedResult, check, tested, trained, untrained
from secateurs.experiments.studies.swap import ACTIVATIONS, swapped
from secateurs.experiments.studies.threads import one_thread, tiny
from secateurs.experiments.studies.wording import SPREAD, sides
from secateurs.pruning import prune
from secateurs.structure import trace
from secateurs.utils import STYLE, WIDTH, Progress, legend, rng, silent, spread

ZERO, MEDIAN, CONTROLS = "nexp", "nexp-median", ("l1", "random")
CRITERIA = (ZERO, MEDIAN, *CONTROLS)
HEADERS = ("activation", "criterion", "spread (CV)", "at one score, %", "correlation with nexp", "accuracy, %")
SHOWN = (("spread", 1.0, "spread of the scores (CV)"), ("level", 100.0, "units at one score, %"))


@dataclass(frozen=True)
class ActivationScores:
    """What one seed showed of one criterion in a network with one activation.

    Attributes:
        spread: standard deviation of the scores over their mean, per group.
        level: the largest share of units that have one and the same score, per group.
        correlation: of the scores with those of NEXP with threshold 0, per group.
        accuracy: of the network that the criterion prunes, after recovery.
    """

    spread: Mapping[str, float]
    level: Mapping[str, float]
    correlation: Mapping[str, float]
    accuracy: float


Rounds = Mapping[str, Sequence[SeedResult[ActivationScores]]]
"""What was found: per activation, a round per seed."""


def network() -> nn.Module:
    """The network for the digits: three convolutions and a hidden layer, every activation a module."""
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
    """Train a network with each activation, and see what NEXP with threshold 0 and with the median makes of it.

    Args:
        job: the model, whose activations are swapped and weights drawn anew (for "digits", `network` takes its place);
            the data, the budget, how to cut and to train, and what to measure on.
        names: of `ACTIVATIONS`.
        seeds: repetitions, each with its own weights, calibration samples, random scores and order of training.
        epochs: of training from scratch.
        recovery_epochs: after the cut; the dense network is trained on for as long.
        progress: wraps activations × seeds.
        command: how to do it again.

    Raises:
        UsageError: an activation is unknown.
        ModelError: the model's activations cannot be swapped.
        SecateursError: of the kind that `retrain.check`, `score_many`, `prune` or `finetune` raise.
    """
    check(job, seeds, epochs, recovery_epochs)
    if unknown := [name for name in names if name not in ACTIVATIONS]:
        raise UsageError(f"unknown activation {unknown[0]!r}; there are: {', '.join(ACTIVATIONS)}")
    test, model, rounds = tested(job), _model(job), {name: [] for name in names}
    with one_thread(tiny(model)):
        for name, seed in progress([(n, s) for n in rounds for s in range(seeds)], "training and pruning"):
            its = dataclasses.replace(job, seed=seed)
            rounds[name].append(_round(model, name, its, (epochs, recovery_epochs), test))
    return found(rounds, job, (epochs, recovery_epochs), command)


def _model(job: Job) -> nn.Module:
    if job.model != DIGITS:
        return job.dense()
    with rng(job.seed):
        return network()


def _round(
    model: nn.Module, activation: str, job: Job, epochs: tuple[int, int], test: Iterable[Any]
) -> SeedResult[ActivationScores]:
    data = job.calibration()
    batch = first_batch(data)
    net = trained(untrained(swapped(model, activation, batch.sample(1)), job), job, epochs[0])
    structure = trace(net, batch.sample(2), job.keep, job.kinds)
    scores = score_many(net, data, CRITERIA, structure, aggregate=job.aggregate, seed=job.seed)

    def measured(its: nn.Module) -> float:
        return accuracy(trained(its, job, epochs[1]), test)

    def seen(criterion: str) -> ActivationScores:
        its = scores[criterion]
        return ActivationScores(
            spread={group: _variation(values) for group, values in its.items()},
            level={group: max(Counter(values.tolist()).values()) / len(values) for group, values in its.items()},
            correlation={group: correlation(values, scores[ZERO][group]) for group, values in its.items()},
            accuracy=measured(prune(net, data, **dataclasses.replace(job, criterion=criterion).cutting).model),
        )

    return SeedResult(measured(net), {criterion: seen(criterion) for criterion in CRITERIA})


def _variation(scores: Tensor) -> float:
    """The coefficient of variation; 0 if there is nothing but zeros."""
    return float(scores.std(correction=0) / scores.mean().abs()) if scores.any() else 0.0


def found(rounds: Rounds, job: Job, epochs: tuple[int, int], command: str) -> Finding:
    """What the rounds show, in words, as a table and as pictures."""
    seeds = len(next(iter(rounds.values())))
    return Finding(
        study="activations",
        title=f"NEXP's threshold and the activation; pruned to {job.budget}",
        sentence=_sentence(rounds),
        headers=HEADERS,
        rows=[row for name in rounds for row in _rows(rounds, name)],
        data={
            "epochs": epochs,
            "budget": job.budget,
            "rounds": {name: [dataclasses.asdict(its) for its in them] for name, them in rounds.items()},
        },
        command=command,
        notes=[
            f"Mean and standard deviation over {seeds} seeds. The spread of the scores (standard deviation over mean), "
            "the largest share of units with one and the same score, and the rank correlation (Spearman) with the "
            "scores of threshold 0 are means over groups, each within its group. Accuracy is on the test data, after "
            f"{epochs[0]} epochs, the cut, and {epochs[1]} epochs; the dense network is trained as long. {SPREAD}",
            "A unit with one value per input is above its own median for half of the inputs, whatever it computes: "
            "`nexp-median` then gives all units the same score, unless half of a unit's values are equal, as after "
            "ReLU.",
        ],
        figures={"scores": _picture(rounds)},
    )


def _rows(rounds: Rounds, activation: str) -> list[list[str]]:
    dense = spread([its.dense for its in rounds[activation]], 1, 100)
    return [
        [activation, "dense", "", "", "", dense],
        *(
            [
                activation,
                criterion,
                spread(_means(rounds, activation, criterion, "spread")),
                spread(_means(rounds, activation, criterion, "level"), 0, 100),
                spread(_means(rounds, activation, criterion, "correlation")),
                spread(_accuracies(rounds, activation, criterion), 1, 100),
            ]
            for criterion in CRITERIA
        ),
    ]


def _means(rounds: Rounds, activation: str, criterion: str, what: str) -> list[float]:
    """Per seed, the mean over groups."""
    return [mean(getattr(its.seen[criterion], what).values()) for its in rounds[activation]]


def _accuracies(rounds: Rounds, activation: str, criterion: str) -> list[float]:
    return [its.seen[criterion].accuracy for its in rounds[activation]]


def _sentence(rounds: Rounds) -> str:
    def each(criterion: str, what: str, digits: int, scale: float) -> str:
        values = {name: scale * mean(_means(rounds, name, criterion, what)) for name in rounds}
        return ", ".join(f"{value:.{digits}f} ({name})" for name, value in values.items())

    def ends(criterion: str, control: str) -> str:
        pairs = {its: (_accuracies(rounds, its, criterion), _accuracies(rounds, its, control)) for its in rounds}
        return f"{criterion} ends {sides(pairs, control)}"

    return (
        f"With threshold 0 NEXP's scores vary by a CV of {each(ZERO, 'spread', 2, 1)}, with the median as threshold by "
        f"{each(MEDIAN, 'spread', 2, 1)}, where the most frequent score is shared by {each(MEDIAN, 'level', 0, 100)} % "
        f"of a group's units; after recovery {ends(ZERO, 'random')}; {ends(MEDIAN, ZERO)}."
    )


def _picture(rounds: Rounds) -> str:
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        panels = figure.subplots(1, 3)
        for axes, (what, scale, label) in zip(panels, SHOWN, strict=False):
            series = {its: {name: _means(rounds, name, its, what) for name in rounds} for its in CRITERIA}
            points(axes, series, scale)
            axes.set_ylabel(label)
        ends = {its: {name: _accuracies(rounds, name, its) for name in rounds} for its in CRITERIA}
        dense = {name: [its.dense for its in them] for name, them in rounds.items()}
        points(panels[2], {**ends, "dense": dense}, 100)
        panels[2].set_ylabel("accuracy after recovery, %")
        legend(figure, *panels[2].get_legend_handles_labels())
        return standalone(figure, "Spread of scores, units at one score, and accuracy after recovery, by activation")
