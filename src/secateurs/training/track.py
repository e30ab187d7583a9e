"""`track`: what a criterion says of every unit while a model trains in a loop of the user's own."""

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
    """What criteria said after so many steps: criterion name to group name to scores [units], float64 on the CPU."""

    step: int
    scores: Mapping[str, Mapping[str, Tensor]]


class Tracker:
    """Scores of every unit at intervals during training; made by `track`.

    Attributes:
        steps: how often `step` was called.
        history: what was recorded, from step 0 on.
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
        """Count one step of training; score all units if it is one of those to be recorded.

        Raises:
            ModelError: the model was cut since it was traced.
            SecateursError: of the kind that `score_many` raises, for instance once weights are not finite.
        """
        self.steps += 1
        if self.steps % self._every == 0:
            self._record()

    def rows(self) -> list[dict[str, Any]]:
        """The history as one row per step, criterion and unit: step, criterion, group, unit, score."""
        return [
            {"step": record.step, "criterion": criterion, "group": group, "unit": unit, "score": score}
            for record in self.history
            for criterion, scores in record.scores.items()
            for group, group_scores in scores.items()
            for unit, score in enumerate(group_scores.tolist())
        ]

    def save(self, path: str | Path) -> None:
        """Write `rows` as JSON lines, a row a line, over what the file held before.

        Raises:
            PersistError: the file cannot be written.
        """
        try:
            Path(path).write_text("".join(json.dumps(row) + "\n" for row in self.rows()), encoding="utf-8")
        except OSError as error:
            raise PersistError(f"the scores cannot be written to {path}: {error}") from error

    def figure(self, criterion: str | None = None) -> str:
        """A panel per group, a thin line per unit, a thick one for the mean, as SVG text (Fig. 1 of the NDI paper).

        Args:
            criterion: which, by name; by default the first.

        Raises:
            CriterionError: it was not tracked.
        """
        from secateurs.training.track_figure import draw

        tracked = self.history[0].scores
        name = next(iter(tracked)) if criterion is None else criterion
        if name not in tracked:
            raise CriterionError(f"criterion {name!r} was not tracked, but {', '.join(tracked)}")
        records = [record.scores[name] for record in self.history]
        lines = {group: torch.stack([scores[group] for scores in records]) for group in records[0]}
        return draw(name, [record.step for record in self.history], lines)

    def _record(self) -> None:
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
    """Record what criteria say of every unit now, as step 0, and again after every `every` calls of `Tracker.step`.

    Scoring leaves no trace on training: modes, buffers, gradients and random states are as they were, and the weights
    become, bit by bit, what they would have become. (Forward hooks of your own see the passes that it makes.) The
    model must keep its shape meanwhile; a cut model is another one, and needs a tracker of its own.

    NDI is calibrated across the network at each step: it says how a unit stands among all others at that step, so a
    rising line is a unit that gains on the others, and no proof that it has changed. To see whether units differentiate
    in absolute terms, track its components too, which are not calibrated:
    `criterion=["ndi", "diversity", "informativeness", "fisher"]`. They share their passes over the data.

    Args:
        model: the model that is being trained.
        data: see `secateurs.data.batches`; read once, now, and kept in memory, so that every step is judged by the
            same samples. More samples than the widest layer has units, about 1,000 in the paper; not the loader that
            you train with, which might shuffle otherwise for having been read.
        criterion: whatever `secateurs.score_many` takes, or a list of such.
        every: steps of training between records.
        structure: from `trace`; by default the model is traced on the first samples of the data.
        loss: for criteria that need gradients, as NDI does; see `secateurs.score_many`.
        seed: for criteria that draw random numbers; the same at every step.

    Raises:
        UsageError: `every` is no positive integer.
        SecateursError: of the kind that `trace` or `score_many` raise; or the structure is another model's.

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
    kept = cache_batches(data)
    structure = structure or trace(model, first_batch(kept).sample(2))
    criteria = [criterion] if isinstance(criterion, Named) else criterion
    return Tracker(model, kept, criteria, every, structure, loss, seed)
