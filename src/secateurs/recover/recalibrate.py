"""Batch norm statistics of a model whose weights or units have changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateurs import preserve
from secateurs.data import batches, device_of
from secateurs.errors import DataError, ModelError
from secateurs.progress import Progress, silent
from secateurs.recover.objective import forward
from secateurs.together import gathered, together


def tracking_norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norm layers that keep running statistics."""
    return [its for its in model.modules() if isinstance(its, _BatchNorm) and its.track_running_stats]


def recalibrate(model: nn.Module, data: Iterable[Any], progress: Progress = silent) -> None:
    """Replace the running statistics of batch norm by their averages over the data, in place.

    Layers that the forward pass does not reach keep theirs. Only batch norm layers run in training mode meanwhile;
    weights do not change.

    Args:
        model: with batch norm that tracks statistics.
        data: see `secateurs.data.batches`; read once. Of a shard (see `secateurs.shard`), the averages are those over
            the batches of all ranks.
        progress: wraps the iteration over the data.

    Raises:
        ModelError: the model has no such layer.
        DataError: the data is empty, the model refuses a batch, or the statistics are not finite; those of the model
            are then as they were.
    """
    device = device_of(model)
    norms = tracking_norms(model)
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
            with together(data):
                for batch in progress(batches(data), "recalibrating"):
                    forward(model, batch.to(device))
            for norm in norms:
                _merge(norm, data)
        if not all(torch.isfinite(buffer).all() for norm in norms for buffer in norm.buffers()):
            raise DataError("the batch norm statistics of this data are not finite; check the inputs and the weights")
        done = True
    finally:
        for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            reached = norm.num_batches_tracked is not None and norm.num_batches_tracked > 0
            for name, buffer in buffers.items() if not (done and reached) else ():
                getattr(norm, name).copy_(buffer)


def _merge(norm: _BatchNorm, data: Iterable[Any]) -> None:
    """Make the averages of this rank's batches those of all ranks' that the data is spread over."""
    counts = gathered(data, int(norm.num_batches_tracked or 0))
    if len(counts) == 1 or not sum(counts):
        return
    for name in ("running_mean", "running_var"):
        means = gathered(data, getattr(norm, name))
        getattr(norm, name).copy_(sum(count * its for count, its in zip(counts, means, strict=True)) / sum(counts))
    assert norm.num_batches_tracked is not None, "it was reset"
    norm.num_batches_tracked.fill_(sum(counts))
