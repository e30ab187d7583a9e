"""One pruning job as the command line runs it: everything named by text, with accuracy measured on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateurs.budgets import Budget, Limits
from secateurs.costs import latencies
from secateurs.criteria import find
from secateurs.data import first_batch
from secateurs.evaluate import accuracy, mean_loss
from secateurs.pipeline import Result, prune
from secateurs.progress import Progress
from secateurs.recover import finetune, recalibrate
from secateurs.report import Comparison, Row
from secateurs.sources import ImageOptions, build, read_data


@dataclass(frozen=True)
class Job:
    """The options of `secateurs prune`; see its help."""

    model: str
    data: str
    test: str
    shape: tuple[int, ...] | None
    criterion: str
    budget: str
    keep: tuple[str, ...]
    kinds: tuple[str, ...] | None
    scope: str | None
    aggregate: str
    compensate: bool
    limits: Limits
    epochs: int
    lr: float
    batch_size: int
    images: ImageOptions
    seed: int

    def run(self, progress: Progress, command: str) -> tuple[Result, Comparison]:
        """Prune, recalibrate where there is batch norm, fine-tune if asked.

        Raises:
            SecateursError: anything named cannot be used.
        """
        Budget.parse(self.budget)  # this and the criterion's name are checked before anything slow
        criterion = find(self.criterion)
        dense = build(self.model)
        data, test = self._data(self.data), self._data(self.test) if self.test else None
        result = prune(
            dense,
            data,
            criterion,
            self.budget,
            seed=self.seed,
            keep=self.keep,
            kinds=self.kinds,
            aggregate=self.aggregate,
            compensate=self.compensate,
            limits=self.limits,
            scope=self.scope,
            progress=progress,
        )
        measured = {} if test is None else {"cut": [accuracy(result.model, test, progress)]}
        after_cut = None if test is None else mean_loss(result.model, test)
        if _has_batch_norm(result.model):
            recalibrate(result.model, data, progress)
            measured |= {} if test is None else {"recalibrated": [accuracy(result.model, test, progress)]}
        if self.epochs:
            training = self._data(self.data, shuffle=True)
            finetune(result.model, training, self.epochs, self.lr, seed=self.seed, progress=progress)
            measured |= {} if test is None else {"recovered": [accuracy(result.model, test, progress)]}
        batch = first_batch(data)
        before, after = latencies([dense, result.model], batch.call)
        compensation = result.compensation
        row = Row(
            criterion=result.criterion,
            cost=result.cost,
            latency=after,
            accuracy=measured,
            widths=result.plan.widths,
            scores={name: scores.tolist() for name, scores in result.scores.items()},
            keep=result.plan.keep,
            loss=after_cut,
            effective=result.plan.certificates,
            compensation={} if compensation is None else compensation.errors,
        )
        comparison = Comparison(
            title=f"{type(dense).__name__} pruned to {self.budget} by {result.criterion}",
            model=self.model,
            budget=self.budget,
            dense=result.dense_cost,
            latency=before,
            accuracy=None if test is None else accuracy(dense, test, progress),
            units={name: group.size for name, group in result.structure.groups.items()},
            frozen=result.structure.frozen,
            rows=[row],
            command=command,
            loss=None if test is None else mean_loss(dense, test),
            notes=[f"MACs are of one input; latency is of a batch of {batch.size}, the models taking turns."]
            + [f"Not exact: {name}: {why}." for name, why in result.inexact.items()],
        )
        return result, comparison

    def _data(self, spec: str, shuffle: bool = False) -> Iterable[Any]:
        return read_data(spec, self.shape, self.batch_size, self.images, shuffle, self.seed)


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) and module.track_running_stats for module in model.modules())
