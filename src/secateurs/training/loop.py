"""The training loop: epochs, optimiser steps, validation and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from secateurs.data import Batch, batches
from secateurs.errors import DataError, PersistError
from secateurs.evaluate import mean_loss
from secateurs.training import checkpoint
from secateurs.training.epoch_seed import randomness
from secateurs.training.history import History
from secateurs.training.objective import Objective
from secateurs.training.optimizer import make_schedule
from secateurs.training.partition import known_length
from secateurs.training.processes import (
    copy_buffers,
    is_equal_in_all_processes,
    mean_over_processes,
    raise_in_all_processes,
)
from secateurs.training.pruner_protocol import Pruner
from secateurs.training.recipe import Recovery
from secateurs.training.state import TrainingState, assign_tensors, check_tensors, trained_tensors
from secateurs.utils import Progress, device_of

if TYPE_CHECKING:  # Accelerate is slow to import, and an extra
    from accelerate import Accelerator


@dataclass(frozen=True)
class Training:
    """One training run of a model. See `finetune`.

    Attributes:
        model: the model to train.
        prepared: the model as prepared by Accelerate, for forward passes.
        accelerator: the accelerator, for precision and processes.
        optimizer: the optimiser of the trainable parameters.
        objective: the loss of a batch.
        data: the training batches of this process.
        validation: the validation batches, or None.
        recipe: the recipe.
        seed: seed of random numbers; see `randomness`.
        directory: the directory of the checkpoint, or None.
        pruner: cuts the model during training, or None.
    """

    model: nn.Module
    prepared: nn.Module
    accelerator: Accelerator
    optimizer: torch.optim.Optimizer
    objective: Objective
    data: Iterable[Any]
    validation: Iterable[Any] | None
    recipe: Recovery
    seed: int
    directory: Path | None
    pruner: Pruner | None

    def run(self, progress: Progress) -> History:
        """Train for all epochs that the checkpoint does not contain.

        Args:
            progress: wraps the iteration over the epochs.

        Returns:
            The losses of all epochs.
        """
        state = self._resume()
        history, best = state.history, state.best
        steps = self._steps_per_epoch()
        total = self.recipe.epochs * (steps or 1)
        schedule = make_schedule(self.recipe, self.optimizer, total, state.steps)
        optimizer: Any = self.accelerator.prepare_optimizer(self.optimizer, device_placement=False)
        self.model.train()
        for epoch in progress(range(len(history.train), self.recipe.epochs), "fine-tuning"):
            if self._is_out_of_patience(history):
                break
            with randomness(self.seed, epoch, self.data, self.validation):
                train = self._epoch(epoch, optimizer, schedule, bool(steps))
                history = history.with_epoch(train, self._validate(epoch), self.recipe.patience is not None)
            if history.best == epoch:
                best = {name: tensor.detach().clone() for name, tensor in trained_tensors(self.model).items()}
            self._log(history, schedule)
            self._save_checkpoint(history, state.steps + schedule.last_epoch, best)
        if best:
            assign_tensors(self.model, best)
        return history

    def _is_out_of_patience(self, history: History) -> bool:
        return self.recipe.patience is not None and history.epochs_since_best() >= self.recipe.patience

    def _steps_per_epoch(self) -> int | None:
        """Number of optimiser steps in an epoch; None if the data has no length."""
        count = known_length(self.data)
        return None if count is None else -(-count // self.recipe.grad_accumulation)

    def _resume(self) -> TrainingState:
        """Read the checkpoint, if any, and restore the model, the optimiser and the pruner from it.

        Raises:
            PersistError: the checkpoint is invalid, or only some processes can read it.
        """
        state = None
        if self.directory is not None:
            state = checkpoint.read(self.directory, self.recipe, self.seed, self.optimizer.state_dict())
        if not is_equal_in_all_processes(state and len(state.history.train)):
            raise PersistError(
                f"processes read different checkpoints from {self.directory}: give a directory that all processes share"
            )
        if state is None:
            return TrainingState()
        if self.pruner is not None and state.pruner is not None:
            self.pruner.load_state_dict(state.pruner)
        for tensors in (state.model, state.best) if state.best else (state.model,):
            check_tensors(tensors, self.model)
        assign_tensors(self.model, state.model)
        self.optimizer.load_state_dict(state.optimizer)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)
        device = device_of(self.model)
        state.best = {name: tensor.to(device) for name, tensor in state.best.items()}
        return state

    def _epoch(self, epoch: int, optimizer: Any, schedule: LambdaLR, by_step: bool) -> float:
        """Train for one epoch and return the mean loss of the batches of all processes.

        Args:
            epoch: number of the epoch, from 0.
            optimizer: the optimiser as prepared by Accelerate.
            schedule: the learning rate schedule.
            by_step: whether the schedule advances after every optimiser step rather than after the epoch.
        """
        losses: list[float] = []
        for group in _in_groups(batches(self.data), self.recipe.grad_accumulation):
            for batch in group:
                last = batch is group[-1]
                with nullcontext() if last else self.accelerator.no_sync(self.prepared):
                    value = self.objective(self.prepared, batch.to(device_of(self.model)))
                    losses.append(float(value.detach()))
                    self._check_finite(losses[-1], epoch, batch)
                    self._backward(value / len(group))
            if self.recipe.clip is not None:
                self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.recipe.clip)
            optimizer.step()
            optimizer.zero_grad()
            if self.pruner is not None:
                self.pruner.step()
            if by_step:
                schedule.step()
        if not by_step:
            schedule.step()
        copy_buffers(self.accelerator, self.model)
        return mean_over_processes(self.accelerator, sum(losses) / len(losses))

    def _check_finite(self, loss: float, epoch: int, batch: Batch) -> None:
        """Raise a DataError if the loss of a batch is not finite."""
        if not math.isfinite(loss):
            raise DataError(
                f"the loss of batch {batch.index} in epoch {epoch} is {loss}: lower the learning rate "
                f"({self.recipe.lr}), or check the data. The weights are those after the previous step"
            )

    def _backward(self, loss: Tensor) -> None:
        """Compute gradients with the precision and scaling of the accelerator."""
        try:
            self.accelerator.backward(loss)
        except RuntimeError as error:
            raise DataError(f"the loss has no gradient: {error}") from error

    def _validate(self, epoch: int) -> float | None:
        """Compute the mean loss on the validation data; None without validation data."""
        if self.validation is None:
            return None
        loss = mean_over_processes(self.accelerator, mean_loss(self.model, self.validation, self.objective.loss))
        if not math.isfinite(loss):
            raise DataError(f"the loss on the validation data after epoch {epoch} is {loss}: check the data")
        return loss

    def _log(self, history: History, schedule: LambdaLR) -> None:
        """Log the losses of the last epoch and the learning rate with the trackers."""
        values = {"loss": history.train[-1], "lr": schedule.get_last_lr()[0]}
        values |= {"validation loss": history.validation[-1]} if history.validation else {}
        self.accelerator.log(values, step=len(history.train))

    def _save_checkpoint(self, history: History, steps: int, best: dict[str, Tensor]) -> None:
        """Write the checkpoint in the first process. If this fails, all processes raise the error."""
        if self.directory is None:
            return
        failure: PersistError | None = None
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {}
            pruner = None if self.pruner is None else self.pruner.state_dict()
            state = TrainingState(
                history, steps, trained_tensors(self.model), best, self.optimizer.state_dict(), scaler, pruner
            )
            try:
                checkpoint.write(self.directory, state, self.recipe, self.seed)
            except PersistError as error:
                failure = error
        raise_in_all_processes(failure)


def _in_groups(items: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Yield lists of `size` batches; the last list may be shorter."""
    while group := list(islice(items, size)):
        yield group
