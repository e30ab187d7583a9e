"""`prune_during_training`: all rounds of pruning take place during the training of the recovery, as in NDP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from typing import Any

from torch import nn
from torch.optim import Optimizer

from secateurs.data import Loss
from secateurs.errors import UsageError
from secateurs.pruning.config import PruningConfig
from secateurs.pruning.gradual.gradual import gradual
from secateurs.pruning.gradual.pruner import GradualPruner
from secateurs.pruning.state import Round, State
from secateurs.training import Recovery
from secateurs.utils import copy_module


def prune_during_training(
    dense: nn.Module,
    data: Iterable[Any],
    config: PruningConfig,
    training: Iterable[Any],
    loss: Loss | None,
    train: Callable[..., None],
) -> State:
    """Train a copy of the dense model, and cut it at regular intervals in the first half of the training.

    Args:
        dense: the model; it is not changed.
        data: batches that every cut is scored on.
        config: a configuration with `schedule.during_training` and a `Recovery` as `recovery`.
        training: the batches of the training; they must have a length.
        loss: for criteria that need gradients.
        train: trains a model in place; called as `train(model, pruner=make_pruner)`, where `make_pruner` makes the
            pruner from the model and the optimiser.

    Returns:
        The state after the training.

    Raises:
        UsageError: the training has fewer steps than the schedule has rounds, or has no length.
    """
    schedule, pruners = config.schedule, []
    every = _steps(config, training) // (2 * schedule.rounds) or 1
    options = config.replace(schedule=None, recovery=None)

    def make_pruner(model: nn.Module, optimizer: Optimizer) -> GradualPruner:
        stop = every * schedule.rounds
        pruners.append(
            gradual(model, optimizer, data, config=options, stop=stop, every=every, ramp=schedule.ramp, loss=loss)
        )
        return pruners[0]

    model = copy_module(dense)
    train(model, pruner=make_pruner)
    (pruner,) = pruners
    return State(
        model=model,
        plan=pruner.plan,
        attributes=pruner.attributes,
        rounds=tuple(Round(cut.plan.pruned, cut.plan.widths, {}) for cut in pruner.history),
        put_back=pruner.put_back,
    )


def _steps(config: PruningConfig, training: Iterable[Any]) -> int:
    """The number of optimiser steps in the training of the recovery."""
    assert isinstance(config.recovery, Recovery), "PruningConfig checks this"
    if not isinstance(training, Sized):
        raise UsageError("Schedule(during_training=True) needs training data with a length, such as a DataLoader")
    steps = config.recovery.epochs * -(-len(training) // config.recovery.grad_accumulation)
    if steps < config.schedule.rounds:
        raise UsageError(
            f"{config.schedule.rounds} rounds do not fit into {steps} steps of training: use fewer rounds or "
            "more epochs"
        )
    return steps
