"""Initialisation: whether criteria know before training what they say after it, and what pruning then costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor, nn

from secateurs.criteria import parse_criterion, score_many
from secateurs.data import first_batch
from secateurs.evaluate import accuracy
from secateurs.experiments.job import Job
from secateurs.experiments.studies.agreement import correlation, overlap
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import standalone
from secateurs.experiments.studies.points import points
from secateurs.experiments.studies.retrain import (
    EPOCHS,
    RECOVERY_EPOCHS,
    SeedResult,
    architecture,
    check,
    tested,
    trained,
    untrained,
)
from secateurs.experiments.studies.threads import one_thread, tiny
from secateurs.experiments.studies.wording import SPREAD, against
from secateurs.pruning import prune
from secateurs.structure import trace
from secateurs.utils import INK, STYLE, WIDTH, Progress, legend, silent, spread

CRITERIA = ("nexp", "ssi", "ndi", "synflow", "snip", "grasp", "l1")
CONTROLS = ("l1", "random")
EARLY, LATE = "pruned at initialisation", "pruned after training"
HEADERS = ("criterion", "rank correlation", "removed alike, %", f"{EARLY}, %", f"{LATE}, %")


class Column(NamedTuple):
    """What all seeds showed of one criterion, one value for each: correlation and overlap are the mean over groups."""

    correlation: list[float]
    overlap: list[float]
    early: list[float]
    late: list[float]


@dataclass(frozen=True)
class ScoreChange:
    """What one seed showed of one criterion.

    Attributes:
        correlation: of the scores at initialisation with those after training, per group.
        overlap: share of the units removed after training (half of each group) that are removed at initialisation too.
        early: accuracy in the end if units are removed at initialisation.
        late: accuracy in the end if they are removed after training.
    """

    correlation: Mapping[str, float]
    overlap: Mapping[str, float]
    early: float
    late: float


def run_initialisation(
    job: Job,
    criteria: Sequence[str] = CRITERIA,
    seeds: int = 3,
    epochs: int = EPOCHS,
    recovery_epochs: int = RECOVERY_EPOCHS,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Score a network before and after training, and prune it at either time.

    All networks of a seed begin with the same weights and are trained twice, each time by the same recipe: they differ
    in when they are cut, before the first training or between the two, and by what.

    Args:
        job: the model (re-initialised), the data, the budget, how to cut and to train, and what to measure on.
        criteria: the first is the one that the sentence is about; l1 and random are added.
        seeds: repetitions, each with its own weights, calibration samples, random scores and order of training.
        epochs: of the first training.
        recovery_epochs: of the second.
        progress: wraps the criteria of each seed.
        command: how to do it again.

    Raises:
        SecateursError: of the kind that `retrain.check`, `score_many`, `prune` or `finetune` raise.
    """
    check(job, seeds, epochs, recovery_epochs)
    names = list(dict.fromkeys(parse_criterion(name).name for name in (*criteria, *CONTROLS)))
    test, model = tested(job), architecture(job)
    rounds: list[SeedResult[ScoreChange]] = []
    with one_thread(tiny(model)):
        for seed in range(seeds):
            pair = _Pair.of(model, dataclasses.replace(job, seed=seed), names, (epochs, recovery_epochs), test)
            dense = pair.measured(pair.after, recovery_epochs)
            rounds.append(
                SeedResult(dense, {its: pair.seen(its) for its in progress(names, f"seed {seed + 1} of {seeds}")})
            )
    return found(rounds, job, (epochs, recovery_epochs), command)


@dataclass(frozen=True)
class _Pair:
    """A network before and after training, and its scores."""

    job: Job
    data: Iterable[Any]
    test: Iterable[Any]
    epochs: tuple[int, int]
    before: nn.Module
    after: nn.Module
    scores: tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Mapping[str, Tensor]]]

    @classmethod
    def of(
        cls, model: nn.Module, job: Job, names: Sequence[str], epochs: tuple[int, int], test: Iterable[Any]
    ) -> _Pair:
        before, data = untrained(model, job), job.calibration()
        after = trained(before, job, epochs[0])
        structure = trace(before, first_batch(data).sample(2), job.keep, job.kinds)
        # Random numbers are drawn anew for the second time.
        first, second = (
            score_many(its, data, names, structure, aggregate=job.aggregate, seed=2 * job.seed + late)
            for late, its in enumerate((before, after))
        )
        return cls(job, data, test, epochs, before, after, (first, second))

    def seen(self, criterion: str) -> ScoreChange:
        """What a criterion says at both times, and what becomes of the network that it prunes."""
        first, second = (its[criterion] for its in self.scores)
        groups = [group for group in first if group in second]
        job = dataclasses.replace(self.job, criterion=criterion)
        early, late = (prune(its, self.data, **job.cutting).model for its in (self.before, self.after))
        return ScoreChange(
            correlation={group: correlation(first[group], second[group]) for group in groups},
            overlap={group: overlap(second[group], first[group]) for group in groups},
            early=self.measured(early, *self.epochs),
            late=self.measured(late, self.epochs[1]),
        )

    def measured(self, model: nn.Module, *epochs: int) -> float:
        """Accuracy after so many epochs of each training."""
        for its in epochs:
            model = trained(model, self.job, its)
        return accuracy(model, self.test)


def found(rounds: Sequence[SeedResult[ScoreChange]], job: Job, epochs: tuple[int, int], command: str) -> Finding:
    """What the rounds show, in words, as a table and as a picture."""
    columns = {name: _column(rounds, name) for name in rounds[0].seen}
    dense = [its.dense for its in rounds]
    return Finding(
        study="initialisation",
        title=f"Scores at initialisation and after training; {job.model} pruned to {job.budget}",
        sentence=_sentence(columns),
        headers=HEADERS,
        rows=[
            ["dense", "", "", spread(dense, 1, 100), spread(dense, 1, 100)],
            *([name, spread(its[0]), *(spread(them, 1, 100) for them in its[1:])] for name, its in columns.items()),
        ],
        data={"epochs": epochs, "budget": job.budget, "rounds": [dataclasses.asdict(its) for its in rounds]},
        command=command,
        notes=[
            f"Mean and standard deviation over {len(rounds)} seeds. Rank correlation (Spearman) of the scores at "
            "initialisation with those after training, and the share of the lower half after training that is in the "
            "lower half at initialisation, both the mean over groups; 0 and 50 % are chance. Batch norm has statistics "
            f"of the data at both times. Accuracy is on the test data, after {epochs[0]} and {epochs[1]} epochs for "
            f"all: networks are cut before the first or between the two. {SPREAD}",
        ],
        figures={"scores": _picture(columns, dense)},
    )


def _column(rounds: Sequence[SeedResult[ScoreChange]], name: str) -> Column:
    seen = [its.seen[name] for its in rounds]
    return Column(
        [mean(its.correlation.values()) for its in seen],
        [mean(its.overlap.values()) for its in seen],
        [its.early for its in seen],
        [its.late for its in seen],
    )


def _sentence(columns: Mapping[str, Column]) -> str:
    name, its, random = next(iter(columns)), next(iter(columns.values())), columns["random"]
    others = {other: mean(them.correlation) for other, them in columns.items() if other not in (name, "random")}
    closest = max(others, key=lambda other: others[other], default="")
    beside = f"; {closest}, the closest of the others: {others[closest]:.2f}" if others else ""
    return (
        f"At initialisation {name} ranks units with a correlation of {spread(its.correlation)} to its ranking after "
        f"training (random: {spread(random.correlation)}{beside}) and picks {spread(its.overlap, 0, 100)} % of the "
        f"units that it would remove then (random: {spread(random.overlap, 0, 100)} %); a network that it prunes at "
        f"initialisation ends {against(its.early, random.early, 'random')}, one that it prunes after training "
        f"{against(its.late, random.late, 'random')}."
    )


def _picture(columns: Mapping[str, Column], dense: Sequence[float]) -> str:
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        points(left, {"": {name: its.correlation for name, its in columns.items()}})
        left.axhline(0, color=INK, lw=0.8, ls=":")
        left.set_ylabel("rank correlation with the scores after training")
        early, late = ({name: getattr(its, when) for name, its in columns.items()} for when in ("early", "late"))
        points(right, {EARLY: early, LATE: late}, 100)
        right.axhline(100 * mean(dense), color=INK, lw=1, ls="--", label="dense")
        right.set_ylabel("accuracy in the end, %")
        legend(figure, *right.get_legend_handles_labels())
        return standalone(figure, "Scores at initialisation against scores after training, and pruning at either time")
