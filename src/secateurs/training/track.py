"""`track`: scores of every unit at intervals during a training loop of the user."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from secateurs.criteria import Named, score_many
from secateurs.data import Loss, Shard, cache_batches, first_batch
from secateurs.errors import CriterionError, PersistError, UsageError
from secateurs.structure import Structure, check_shapes, trace


class Record(NamedTuple):
    """Scores at one training step.

    Attributes:
        step: number of training steps so far.
        scores: scores [units] by criterion name and group name, float64 on the CPU.
    """

    step: int
    scores: Mapping[str, Mapping[str, Tensor]]


class Tracker:
    """Scores of every unit at intervals during training. Made by `track`.

    Attributes:
        steps: number of calls of `step`.
        history: the records, from step 0 on.
    """

    def __init__(
        self,
        model: nn.Module,
        data: list[Any] | Shard,
        criteria: Sequence[Named],
        every: int,
        structure: Structure,
        loss: Loss | None,
        seed: int,
    ):
        self.steps = 0
        self.history: list[Record] = []
        self._model, self._data, self._criteria, self._every = model, data, criteria, every
        self._structure, self._loss, self._seed = structure, loss, seed
        self._record()

    def step(self) -> None:
        """Count one training step. Score all units if the number of steps is a multiple of `every`.

        Raises:
            ModelError: the model was cut after it was traced.
            SecateursError: any error of `score_many`, for example because weights are no longer finite.
        """
        self.steps += 1
        if self.steps % self._every == 0:
            self._record()

    def rows(self) -> list[dict[str, Any]]:
        """Convert the history to one row per step, criterion and unit: step, criterion, group, unit, score."""
        return [
            {"step": record.step, "criterion": criterion, "group": group, "unit": unit, "score": score}
            for record in self.history
            for criterion, scores in record.scores.items()
            for group, group_scores in scores.items()
            for unit, score in enumerate(group_scores.tolist())
        ]

    def save(self, path: str | Path) -> None:
        """Write the rows to a file of JSON lines. An existing file is overwritten.

        Args:
            path: the file.

        Raises:
            PersistError: the file cannot be written.
        """
        try:
            Path(path).write_text("".join(json.dumps(row) + "\n" for row in self.rows()), encoding="utf-8")
        except OSError as error:
            raise PersistError(f"the scores cannot be written to {path}: {error}") from error

    def figure(self, criterion: str | None = None) -> str:
        """Plot the scores over the steps, as in Fig. 1 of the NDI paper.

        Each group has a panel with a thin line per unit and a thick line for the mean.

        Args:
            criterion: name of the criterion; by default the first one.

        Returns:
            SVG text.

        Raises:
            CriterionError: the criterion was not tracked.
        """
        from secateurs.training.track_figure import draw

        tracked = self.history[0].scores
        name = next(iter(tracked)) if criterion is None else criterion
        if name not in tracked:
            raise CriterionError(f"criterion {name!r} was not tracked: choose one of {', '.join(tracked)}")
        records = [record.scores[name] for record in self.history]
        lines = {group: torch.stack([scores[group] for scores in records]) for group in records[0]}
        return draw(name, [record.step for record in self.history], lines)

    def _record(self) -> None:
        """Score all units and append a record to the history."""
        check_shapes(self._model, self._structure)
        scores = score_many(self._model, self._data, self._criteria, self._structure, self._loss, seed=self._seed)
        self.history.append(Record(self.steps, scores))


def track(
    model: nn.Module,
    data: Iterable[Any],
    criterion: Named | Sequence[Named] = "ndi",
    every: int = 100,
    *,
    structure: Structure | None = None,
    loss: Loss | None = None,
    seed: int = 0,
) -> Tracker:
    """Score all units now (step 0) and again after every `every` calls of `Tracker.step`.

    Scoring does not affect training: modes, buffers, gradients and random states are restored, and training ends with
    the same bits in all weights. Only forward hooks of your own see the additional forward passes. The shapes of the
    model must not change during tracking. Make a new tracker for a pruned model.

    NDI scores are calibrated across the network at each step. They rank a unit among all others at that step, so a
    rising line does not prove that the unit has changed. To see whether units differentiate in absolute terms, also
    track the components of NDI, which are not calibrated:
    `criterion=["ndi", "diversity", "informativeness", "fisher"]`. These criteria share passes over the data.

    Args:
        model: the model that is being trained.
        data: batches, see `secateurs.data.batches`. They are read once now and kept in memory, so that all steps use
            the same samples. Give more samples than the widest layer has units (about 1,000 in the paper). Do not give
            the training loader: reading it here may change the shuffled order of training.
        criterion: a criterion that `secateurs.score_many` accepts, or a list of criteria.
        every: training steps between two records.
        structure: structure of the model; by default the model is traced on the first samples of the data.
        loss: loss function for criteria that need gradients, such as NDI; see `secateurs.score_many`.
        seed: seed for criteria that draw random numbers. Every step uses the same seed.

    Returns:
        The tracker, with the record of step 0.

    Raises:
        UsageError: `every` is not a positive integer.
        SecateursError: any error of `trace` or `score_many`, or the structure belongs to another model.

    Example:
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        >>> tracker = sc.track(model, data, "l2", every=2)
        >>> for x, y in data:
        ...     functional.cross_entropy(model(x), y).backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        ...     tracker.step()
        >>> [record.step for record in tracker.history]
        [0, 2]
    """
    if not isinstance(every, int) or every < 1:
        raise UsageError(f"every must be a number of training steps ≥ 1, not {every!r}")
    cached = cache_batches(data)
    structure = structure or trace(model, first_batch(cached).sample(2))
    criteria = [criterion] if isinstance(criterion, Named) else criterion
    return Tracker(model, cached, criteria, every, structure, loss, seed)
