"""The loop of a training: epochs, steps, and what is kept between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn
from torch.optim.lr_scheduler import LambdaLR

from secateurs.data import Batch, batches
from secateurs.errors import DataError, PersistError
from secateurs.evaluate import mean_loss
from secateurs.training import checkpoint
from secateurs.training.checkpoint import TrainingState, trained_tensors
from secateurs.training.epoch_seed import randomness
from secateurs.training.history import History
from secateurs.training.objective import Objective
from secateurs.training.optimizer import make_schedule
from secateurs.training.partition import known_length
from secateurs.training.pruner_protocol import Pruner
from secateurs.training.recipe import Recovery
from secateurs.utils import Progress, device_of

if TYPE_CHECKING:  # Accelerate is slow to import, and an extra
    from accelerate import Accelerator


@dataclass(frozen=True)
class Training:
    """One training of a model; see `finetune`.

    Attributes:
        model: that is trained.
        prepared: the same as Accelerate runs it.
        data: the batches of this process.
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
        """Train for the epochs that are not done yet."""
        state = self._begin()
        history, best = state.history, state.best
        steps = self._steps()
        total = self.recipe.epochs * (steps or 1)
        schedule = make_schedule(self.recipe, self.optimizer, total, state.steps)
        optimizer: Any = self.accelerator.prepare_optimizer(self.optimizer, device_placement=False)
        self.model.train()
        for epoch in progress(range(len(history.train), self.recipe.epochs), "fine-tuning"):
            if self._stopped(history):
                break
            with randomness(self.seed, epoch, self.data, self.validation):
                train = self._epoch(epoch, optimizer, schedule, bool(steps))
                history = history.then(train, self._validate(epoch), self.recipe.patience is not None)
            if history.best == epoch:
                best = {name: tensor.detach().clone() for name, tensor in trained_tensors(self.model).items()}
            self._log(history, schedule)
            self._keep(history, state.steps + schedule.last_epoch, best)
        if best:
            checkpoint.assign(self.model, best)
        return history

    def _stopped(self, history: History) -> bool:
        return self.recipe.patience is not None and history.stale() >= self.recipe.patience

    def _steps(self) -> int | None:
        """Steps of the optimiser in an epoch, where that is known."""
        count = known_length(self.data)
        return None if count is None else -(-count // self.recipe.grad_accumulation)

    def _begin(self) -> TrainingState:
        """Where the training stands; if there is a checkpoint, the model and the optimiser are brought there."""
        from accelerate.utils import gather_object

        state = None
        if self.directory is not None:
            state = checkpoint.read(self.directory, self.recipe, self.seed, self.optimizer.state_dict())
        if len({*gather_object([state and len(state.history.train)])}) > 1:
            raise PersistError(f"not all processes see the same checkpoint in {self.directory}; it must be shared")
        if state is None:
            return TrainingState()
        if self.pruner is not None and state.pruner is not None:
            self.pruner.load_state_dict(state.pruner)
        for tensors in (state.model, state.best) if state.best else (state.model,):
            checkpoint.check(tensors, self.model)
        checkpoint.assign(self.model, state.model)
        self.optimizer.load_state_dict(state.optimizer)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)
        device = device_of(self.model)
        state.best = {name: tensor.to(device) for name, tensor in state.best.items()}
        return state

    def _epoch(self, epoch: int, optimizer: Any, schedule: LambdaLR, by_step: bool) -> float:
        """Train for one epoch: the mean loss of its batches, of all processes."""
        losses: list[float] = []
        for group in _groups(batches(self.data), self.recipe.grad_accumulation):
            for batch in group:
                last = batch is group[-1]
                with nullcontext() if last else self.accelerator.no_sync(self.prepared):
                    value = self.objective(self.prepared, batch.to(device_of(self.model)))
                    losses.append(float(value.detach()))
                    self._check(losses[-1], epoch, batch)
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
        self._agree_on_buffers()
        return self._mean(sum(losses) / len(losses))

    def _check(self, loss: float, epoch: int, batch: Batch) -> None:
        if not math.isfinite(loss):
            raise DataError(
                f"the loss of batch {batch.index} in epoch {epoch} is {loss}: lower the learning rate "
                f"({self.recipe.lr}), or check the data; the weights are as the step before left them"
            )

    def _backward(self, loss: Tensor) -> None:
        try:
            self.accelerator.backward(loss)
        except RuntimeError as error:
            raise DataError(f"the loss has no gradient: {error}") from error

    def _validate(self, epoch: int) -> float | None:
        if self.validation is None:
            return None
        loss = self._mean(mean_loss(self.model, self.validation, self.objective.loss))
        if not math.isfinite(loss):
            raise DataError(f"the loss on the validation data after epoch {epoch} is {loss}; check the data")
        return loss

    def _mean(self, value: float) -> float:
        """The mean over the processes, the same in each."""
        tensor = torch.tensor(value, dtype=torch.float64, device=self.accelerator.device)
        reduced: Any = self.accelerator.reduce(tensor, "mean")
        return float(reduced)

    def _agree_on_buffers(self) -> None:
        if self.accelerator.num_processes > 1:
            for buffer in self.model.buffers():
                distributed.broadcast(buffer, 0)

    def _log(self, history: History, schedule: LambdaLR) -> None:
        values = {"loss": history.train[-1], "lr": schedule.get_last_lr()[0]}
        values |= {"validation loss": history.validation[-1]} if history.validation else {}
        self.accelerator.log(values, step=len(history.train))

    def _keep(self, history: History, steps: int, best: dict[str, Tensor]) -> None:
        """Write the checkpoint, in one process; all wait for it, and fail with it."""
        if self.directory is None:
            return
        from accelerate.utils import broadcast_object_list

        failure: list[Any] = [None]
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {}
            pruner = None if self.pruner is None else self.pruner.state_dict()
            state = TrainingState(
                history, steps, trained_tensors(self.model), best, self.optimizer.state_dict(), scaler, pruner
            )
            try:
                checkpoint.write(self.directory, state, self.recipe, self.seed)
            except PersistError as error:
                failure = [error]
        broadcast_object_list(failure)
        if failure[0] is not None:
            raise failure[0]


def _groups(items: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    while group := list(islice(items, size)):
        yield group
