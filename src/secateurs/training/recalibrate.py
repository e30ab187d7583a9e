"""Batch norm statistics of a model whose weights or units have changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateurs.budgets import Plan
from secateurs.data import batches, errors_on_all_ranks, first_batch, gather_ranks
from secateurs.errors import DataError, ModelError, UsageError
from secateurs.structure import Structure, trace
from secateurs.training.dense_statistics import DenseStatistics
from secateurs.training.objective import forward
from secateurs.utils import Progress, device_of, restoring_modes, rng, silent


def tracking_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The batch norm layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    }


def recalibrate(
    model: nn.Module,
    data: Iterable[Any],
    dense: nn.Module | None = None,
    plan: Plan | None = None,
    structure: Structure | None = None,
    *,
    progress: Progress = silent,
) -> None:
    """Re-estimate the running statistics of batch norm layers on data, in place.

    With the model before the cut, each batch norm then puts out what it did there: each channel has the same mean and
    variance over the data. That is right whatever the running statistics were, also where batch norm was folded into
    the layers before it, and what the data has of its own cancels out: a model that was not cut stays as it is.
    Without, the running statistics become their averages over the data, as in training.

    Layers that the forward pass does not reach keep theirs. Only batch norm layers run in training mode meanwhile;
    weights do not change.

    Args:
        model: with batch norm that tracks statistics.
        data: see `secateurs.data.batches`; read once. Of a shard (see `secateurs.shard`), the averages are those over
            the batches of all ranks.
        dense: the model before the cut, which goes over the data as well.
        plan: by which `model` was made of `dense`.
        structure: of `dense`; by default it is traced again on the first samples of the data.
        progress: wraps the iteration over the data.

    Raises:
        ModelError: the model has no such layer.
        UsageError: a dense model without a plan, or a plan without one; or it is the same model.
        PlanError: `model` is not what `plan` makes of `dense`.
        DataError: the data is empty, the model refuses a batch, or the statistics are not finite; those of the model
            are then as they were.

    Example:
        >>> result = sc.prune(model, data, criterion="l2", budget="keep:0.5", recovery=None)
        >>> sc.recalibrate(result.model, data, dense=model, plan=result.plan)
    """
    device = device_of(model)
    norms = tracking_norms(model)
    if not norms:
        raise ModelError(f"{type(model).__name__} has no batch norm with running statistics, so nothing to recalibrate")
    if dense is model:
        raise UsageError("recalibration compares the model with another one: the dense model before the cut")
    reference = _reference(norms, data, dense, plan, structure)
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms.values()]
    momenta = [norm.momentum for norm in norms.values()]
    done = False
    try:
        with restoring_modes(model), rng(), torch.no_grad():
            model.eval()
            for norm in norms.values():
                norm.train()
                norm.reset_running_stats()
                norm.momentum = None  # a cumulative average: every batch counts the same
            with errors_on_all_ranks(data), reference.observing() if reference else nullcontext() as show:
                for batch in progress(batches(data), "recalibrating"):
                    if show:
                        show(batch)
                    forward(model, batch.to(device))
            for norm in norms.values():
                _merge(norm, data)
            if reference:
                reference.apply(data)
        if not all(torch.isfinite(buffer).all() for norm in norms.values() for buffer in norm.buffers()):
            raise DataError("the batch norm statistics of this data are not finite; check the inputs and the weights")
        done = True
    finally:
        for norm, momentum, buffers in zip(norms.values(), momenta, before, strict=True):
            norm.momentum = momentum
            reached = norm.num_batches_tracked is not None and norm.num_batches_tracked > 0
            for name, buffer in buffers.items() if not (done and reached) else ():
                getattr(norm, name).copy_(buffer)


def _reference(
    norms: Mapping[str, _BatchNorm],
    data: Iterable[Any],
    dense: nn.Module | None,
    plan: Plan | None,
    structure: Structure | None,
) -> DenseStatistics | None:
    if dense is None and plan is None:
        return None
    if dense is None or plan is None:
        raise UsageError("recalibration by the model before the cut takes both: dense= and the plan= it was cut by")
    return DenseStatistics(norms, dense, plan, structure or trace(dense, first_batch(data).sample(2), kinds="all"))


def _merge(norm: _BatchNorm, data: Iterable[Any]) -> None:
    """Make the averages of this rank's batches those of all ranks' that the data is spread over."""
    counts = gather_ranks(data, int(norm.num_batches_tracked or 0))
    if len(counts) == 1 or not sum(counts):
        return
    for name in ("running_mean", "running_var"):
        means = gather_ranks(data, getattr(norm, name))
        getattr(norm, name).copy_(sum(count * mean for count, mean in zip(counts, means, strict=True)) / sum(counts))
    assert norm.num_batches_tracked is not None, "it was reset"
    norm.num_batches_tracked.fill_(sum(counts))
