"""Recovery after a cut: batch norm recalibration and fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from secateurs import preserve
from secateurs.data import Batch, batches, device_of
from secateurs.errors import DataError, ModelError, UsageError
from secateurs.losses import Loss, loss_of
from secateurs.progress import Progress, silent


def recalibrate(model: nn.Module, data: Iterable[Any], progress: Progress = silent) -> None:
    """Replace the running statistics of batch norm by their averages over the data, in place.

    Layers that the forward pass does not reach keep theirs. Only batch norm layers run in training mode meanwhile;
    weights do not change.

    Args:
        model: with batch norm that tracks statistics.
        data: see `secateurs.data.batches`; read once.
        progress: wraps the iteration over the data.

    Raises:
        ModelError: the model has no such layer.
        DataError: the data is empty, the model refuses a batch, or the statistics are not finite; those of the model
            are then as they were.
    """
    device = device_of(model)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        raise ModelError(f"{type(model).__name__} has no batch norm with running statistics, so nothing to recalibrate")
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    momenta = [norm.momentum for norm in norms]
    done = False
    try:
        with preserve.modes(model), preserve.rng(), torch.no_grad():
            model.eval()
            for norm in norms:
                norm.train()
                norm.reset_running_stats()
                norm.momentum = None  # a cumulative average: every batch counts the same
            for batch in progress(batches(data), "recalibrating"):
                _call(model, batch.to(device))
        if not all(torch.isfinite(buffer).all() for norm in norms for buffer in norm.buffers()):
            raise DataError("the batch norm statistics of this data are not finite; check the inputs and the weights")
        done = True
    finally:
        for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            reached = norm.num_batches_tracked is not None and norm.num_batches_tracked > 0
            for name, buffer in buffers.items() if not (done and reached) else ():
                getattr(norm, name).copy_(buffer)


def finetune(
    model: nn.Module,
    data: Iterable[Any],
    epochs: int = 1,
    lr: float = 0.01,
    teacher: nn.Module | None = None,
    *,
    loss: Loss | None = None,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
    temperature: float = 4.0,
    seed: int = 0,
    progress: Progress = silent,
) -> list[float]:
    """Train a model in place, with a learning rate that falls to zero along half a cosine.

    Training runs on Hugging Face Accelerate, on the device that the model is on.

    Args:
        model: trained as a whole, in training mode; its modes are restored.
        data: batches with targets (or dicts with labels); read once per epoch, so not an iterator.
        epochs: passes over the data.
        lr: learning rate at the start.
        teacher: a model to learn from, usually the dense one: half of the loss is then the divergence of the two
            models' outputs at `temperature` (Hinton et al. 2015, arXiv 1503.02531).
        loss: maps (outputs, targets) to a scalar; by default cross-entropy, or the model's own loss.
        optimizer: makes an optimiser of parameters; by default SGD with Nesterov momentum 0.9 and weight decay 5e-4.
            Its learning rate is overridden.
        temperature: softens both models' outputs for the teacher's half of the loss.
        seed: for dropout and shuffling while training.
        progress: wraps the iteration over the epochs.

    Returns:
        The mean loss of each epoch.

    Raises:
        DataError: the data is empty, has no targets, can be read only once, or is refused by the model; or the loss
            is not finite.
        ModelError: no parameter is to be trained.
        UsageError: the number of epochs or the learning rate is out of range.
    """
    if not isinstance(epochs, int) or epochs < 1 or not lr > 0:
        raise UsageError(f"give a number of epochs ≥ 1 and a positive learning rate, not {epochs!r} and {lr!r}")
    if isinstance(data, Iterator) and epochs > 1:
        raise DataError("the data is an iterator, which can be read only once; give a list or a DataLoader")
    if teacher is not None:
        device_of(teacher)
    device = device_of(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ModelError(f"{type(model).__name__} has no parameter that requires a gradient, so nothing to train")
    history: list[float] = []
    with preserve.modes(model), preserve.rng(seed), _accelerated(model, device) as (accelerator, trained):
        model.train()
        made = accelerator.prepare(_optimizer(parameters, lr, optimizer))
        for epoch in progress(range(epochs), "fine-tuning"):
            losses: list[float] = []
            size = _length(data)
            for batch in batches(data):
                batch = batch.to(device)
                done = epoch + (batch.index / size if size else 0)
                for group in made.param_groups:
                    group["lr"] = lr * (1 + math.cos(math.pi * done / epochs)) / 2
                outputs = _call(trained, batch)
                value = loss_of(outputs, batch, loss)
                if teacher is not None:
                    value = (value + _divergence(outputs, teacher, batch, temperature)) / 2
                losses.append(float(value.detach()))
                if not math.isfinite(losses[-1]):
                    raise DataError(
                        f"the loss of batch {batch.index} in epoch {epoch} is {losses[-1]}: lower the learning rate "
                        f"({lr}), or check the data; the model is as the step before left it"
                    )
                _step(accelerator, made, value)
            history.append(sum(losses) / len(losses))
    return history


def _optimizer(parameters: list[nn.Parameter], lr: float, make: Any) -> torch.optim.Optimizer:
    if make is not None:
        return make(parameters)
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)


def _step(accelerator: Accelerator, optimizer: Any, loss: Tensor) -> None:
    try:
        accelerator.backward(loss)
    except RuntimeError as error:
        raise DataError(f"the loss has no gradient: {error}") from error
    optimizer.step()
    optimizer.zero_grad()


@contextmanager
def _accelerated(model: nn.Module, device: torch.device) -> Iterator[tuple[Accelerator, nn.Module]]:
    """An accelerator for the device that the model is on, and the model prepared for it; no mark is left on either."""
    shared = AcceleratorState._shared_state
    if shared and shared["device"].type != device.type:  # an earlier run, on another device
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=device.type == "cpu")
    try:
        yield accelerator, accelerator.prepare_model(model, device_placement=False)
    finally:
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        vars(model).pop("_is_accelerate_prepared", None)
        for parameter in model.parameters():
            parameter.grad = None


def _call(model: nn.Module, batch: Batch) -> Any:
    try:
        return batch.call.run(model)
    except Exception as error:
        raise batch.refused(error) from error


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None


def _divergence(outputs: Any, teacher: nn.Module, batch: Batch, temperature: float) -> Tensor:
    with preserve.evaluating(teacher):
        theirs = _logits(_call(teacher, batch))
    if theirs.shape != _logits(outputs).shape:
        raise DataError(f"the teacher gives {list(theirs.shape)} where the model gives {list(_logits(outputs).shape)}")
    return functional.kl_div(
        functional.log_softmax(_logits(outputs) / temperature, dim=-1),
        functional.log_softmax(theirs / temperature, dim=-1),
        log_target=True,
        reduction="batchmean",
    ) * (temperature**2)


def _logits(outputs: Any) -> Tensor:
    logits = outputs.get("logits") if isinstance(outputs, dict) else getattr(outputs, "logits", outputs)
    if not isinstance(logits, Tensor):
        raise DataError(f"learning from a teacher needs outputs that are tensors or have logits, not {type(outputs)}")
    return logits
