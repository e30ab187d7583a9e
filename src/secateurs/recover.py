"""Recovery after a cut: batch norm recalibration and fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from secateurs import preserve
from secateurs.data import batches, device_of
from secateurs.errors import DataError, ModelError
from secateurs.losses import Loss, loss_of
from secateurs.progress import Progress, silent


def recalibrate(model: nn.Module, data: Iterable[Any], progress: Progress = silent) -> None:
    """Replace the running statistics of batch norm by their averages over the data, in place.

    Only batch norm layers run in training mode meanwhile; weights do not change.

    Args:
        model: with batch norm that tracks statistics.
        data: see `secateurs.data.batches`; read once.
        progress: wraps the iteration over the data.

    Raises:
        ModelError: the model has no such layer.
        DataError: the data is empty, or the model refuses a batch; the statistics are then as they were.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        raise ModelError(f"{type(model).__name__} has no batch norm with running statistics, so nothing to recalibrate")
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    momenta = [norm.momentum for norm in norms]
    device = device_of(model)
    done = False
    try:
        with preserve.evaluating(model):
            for norm in norms:
                norm.train()
                norm.reset_running_stats()
                norm.momentum = None  # a cumulative average: every batch counts the same
            for batch in progress(batches(data), "recalibrating"):
                try:
                    batch.to(device).call.run(model)
                except Exception as error:
                    raise batch.refused(error) from error
        done = True
    finally:
        for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            for name, buffer in buffers.items() if not done else ():
                getattr(norm, name).copy_(buffer)


def finetune(
    model: nn.Module,
    data: Iterable[Any],
    epochs: int = 1,
    lr: float = 0.01,
    teacher: nn.Module | None = None,
    *,
    loss: Loss | None = None,
    optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer] | None = None,
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
    """
    if epochs < 1 or not lr > 0:
        raise DataError(f"fine-tuning needs at least one epoch and a positive learning rate, not {epochs} and {lr}")
    if isinstance(data, Iterator) and epochs > 1:
        raise DataError("the data is an iterator, which can be read only once; give a list or a DataLoader")
    device = device_of(model)
    accelerator = Accelerator(cpu=device.type == "cpu")
    parameters = (p for p in model.parameters() if p.requires_grad)
    made = optimizer(parameters) if optimizer else torch.optim.SGD(
        parameters, lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )  # fmt: skip
    history: list[float] = []
    with preserve.modes(model), preserve.rng(seed):
        model.train()
        trained, made = accelerator.prepare(model, made, device_placement=[False, True])
        for epoch in progress(range(epochs), "fine-tuning"):
            losses: list[Tensor] = []
            size = _length(data)
            for batch in batches(data):
                batch = batch.to(device)
                done = epoch + (batch.index / size if size else 0)
                for group in made.param_groups:
                    group["lr"] = lr * (1 + math.cos(math.pi * done / epochs)) / 2
                try:
                    outputs = batch.call.run(trained)
                except Exception as error:
                    raise batch.refused(error) from error
                value = loss_of(outputs, batch, loss)
                if teacher is not None:
                    value = (value + _divergence(outputs, teacher, batch.call, temperature)) / 2
                made.zero_grad()
                accelerator.backward(value)
                made.step()
                losses.append(value.detach())
            history.append(float(torch.stack(losses).mean()))
            if not math.isfinite(history[-1]):
                raise DataError(f"the loss of epoch {epoch} is {history[-1]}; lower the learning rate ({lr})")
        made.zero_grad()
    return history


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None


def _divergence(outputs: Any, teacher: nn.Module, call: Any, temperature: float) -> Tensor:
    with preserve.evaluating(teacher):
        theirs = _logits(call.run(teacher))
    return functional.kl_div(
        functional.log_softmax(_logits(outputs) / temperature, dim=-1),
        functional.log_softmax(theirs / temperature, dim=-1),
        log_target=True,
        reduction="batchmean",
    ) * (temperature**2)


def _logits(outputs: Any) -> Tensor:
    logits = outputs if isinstance(outputs, Tensor) else getattr(outputs, "logits", None)
    if logits is None:
        raise DataError(f"learning from a teacher needs outputs that are tensors or have logits, not {type(outputs)}")
    return logits
