"""The initialisation study: how well scores before training predict scores after it, and what pruning then costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from secateurs.criteria import parse_criterion, score_many
from secateurs.data import first_batch
from secateurs.evaluate import accuracy
from secateurs.experiments.job import Job
from secateurs.experiments.studies.agreement import correlation, overlap
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.initialisation_finding import ScoreChange, summarise
from secateurs.experiments.studies.retrain import (
    EPOCHS,
    RECOVERY_EPOCHS,
    SeedResult,
    architecture,
    check,
    test_data,
    trained,
    untrained,
)
from secateurs.experiments.studies.threads import is_tiny, one_thread
from secateurs.pruning import prune
from secateurs.structure import trace
from secateurs.utils import Progress, silent

CRITERIA = ("nexp", "ssi", "ndi", "synflow", "snip", "grasp", "l1")
CONTROLS = ("l1", "random")


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

    All networks of a seed begin with the same weights and are trained twice with the same recipe. They differ in the
    criterion and in when they are cut: before the first training, or between the two.

    Args:
        job: names the model (re-initialised), the data, the budget, the options of pruning and training, and the
            test data.
        criteria: the sentence is about the first one; l1 and random are added.
        seeds: repetitions, each with other weights, calibration samples, random scores and order of training.
        epochs: of the first training.
        recovery_epochs: of the second training.
        progress: wraps the criteria of each seed.
        command: the command that repeats the study.

    Raises:
        SecateursError: as raised by `retrain.check`, `score_many`, `prune` or `finetune`.
    """
    check(job, seeds, epochs, recovery_epochs)
    names = list(dict.fromkeys(parse_criterion(name).name for name in (*criteria, *CONTROLS)))
    test, model = test_data(job), architecture(job)
    results: list[SeedResult[ScoreChange]] = []
    with one_thread(is_tiny(model)):
        for seed in range(seeds):
            seeded = job.with_config(seed=seed)
            pair = _Pair.of(model, seeded, names, (epochs, recovery_epochs), test)
            dense = pair.accuracy_after(pair.after, recovery_epochs)
            shown = progress(names, f"seed {seed + 1} of {seeds}")
            results.append(SeedResult(dense, {name: pair.compare(name) for name in shown}))
    return summarise(results, job, (epochs, recovery_epochs), command)


@dataclass(frozen=True)
class _Pair:
    """A network before and after training, and the scores of both."""

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
        structure = trace(before, first_batch(data).sample(2), job.config.keep, job.config.kinds)
        # Random scores are drawn anew for the second time.
        first, second = (
            score_many(network, data, names, structure, aggregate=job.config.aggregate, seed=2 * job.config.seed + late)
            for late, network in enumerate((before, after))
        )
        return cls(job, data, test, epochs, before, after, (first, second))

    def compare(self, criterion: str) -> ScoreChange:
        """Compare a criterion's scores at both times, and prune by it at both times."""
        first, second = (scores[criterion] for scores in self.scores)
        groups = [group for group in first if group in second]
        config = self.job.config.replace(criterion=criterion).without_training()
        early, late = (prune(network, self.data, config=config).model for network in (self.before, self.after))
        return ScoreChange(
            correlation={group: correlation(first[group], second[group]) for group in groups},
            overlap={group: overlap(second[group], first[group]) for group in groups},
            early=self.accuracy_after(early, *self.epochs),
            late=self.accuracy_after(late, self.epochs[1]),
        )

    def accuracy_after(self, model: nn.Module, *epochs: int) -> float:
        """Accuracy after one training for each number of epochs."""
        for number in epochs:
            model = trained(model, self.job, number)
        return accuracy(model, self.test)
