"""Recalibration: batch norm statistics of a model after weights or units have changed."""

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
    """Collect the batch norm layers with running statistics, by name."""
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

    Without `dense`, the running statistics become the averages of the batch statistics over the data, as in training.

    With `dense` and `plan`, every batch norm layer of the pruned model then has the same output mean and variance per
    channel, over the data, as the dense model. This is correct for any running statistics of the dense model, also if
    batch norm was folded into preceding layers. Peculiarities of the data cancel out: a model that was not pruned does
    not change.

    Layers that the forward pass does not reach keep their statistics. Only batch norm layers run in training mode.
    Weights do not change.

    Args:
        model: the model, with batch norm layers that track statistics.
        data: batches, see `secateurs.data.batches`; read once. The averages of a shard (see `secateurs.shard`) are over
            the batches of all ranks.
        dense: the dense model before pruning. It is also run on the data.
        plan: the plan by which `model` was pruned from `dense`.
        structure: structure of `dense`; by default `dense` is traced on the first samples of the data.
        progress: wraps the iteration over the data.

    Raises:
        ModelError: the model has no batch norm layer with running statistics.
        UsageError: only one of `dense` and `plan` is given, or `dense` is `model`.
        PlanError: `model` was not pruned from `dense` by `plan`.
        DataError: the data is empty, the model fails on a batch, or the statistics are not finite. The statistics of
            the model are then restored.

    Example:
        >>> result = sc.prune(model, data, criterion="l2", budget="keep:0.5", recovery=None)
        >>> sc.recalibrate(result.model, data, dense=model, plan=result.plan)
    """
    device = device_of(model)
    norms = tracking_norms(model)
    if not norms:
        raise ModelError(
            f"{type(model).__name__} has no batch norm with running statistics: there is nothing to recalibrate"
        )
    if dense is model:
        raise UsageError("dense must be the model before pruning, not the pruned model itself")
    reference = _dense_statistics(norms, data, dense, plan, structure)
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms.values()]
    momenta = [norm.momentum for norm in norms.values()]
    done = False
    try:
        with restoring_modes(model), rng(), torch.no_grad():
            model.eval()
            for norm in norms.values():
                norm.train()
                norm.reset_running_stats()
                norm.momentum = None  # cumulative average: all batches have the same weight
            with errors_on_all_ranks(data), reference.observing() if reference else nullcontext() as run_dense:
                for batch in progress(batches(data), "recalibrating"):
                    if run_dense:
                        run_dense(batch)
                    forward(model, batch.to(device))
            for norm in norms.values():
                _average_over_ranks(norm, data)
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


def _dense_statistics(
    norms: Mapping[str, _BatchNorm],
    data: Iterable[Any],
    dense: nn.Module | None,
    plan: Plan | None,
    structure: Structure | None,
) -> DenseStatistics | None:
    """Make the observer of the dense model; None if neither `dense` nor `plan` is given."""
    if dense is None and plan is None:
        return None
    if dense is None or plan is None:
        raise UsageError("recalibration against the dense model needs both arguments: dense= and plan=")
    return DenseStatistics(norms, dense, plan, structure or trace(dense, first_batch(data).sample(2), kinds="all"))


def _average_over_ranks(norm: _BatchNorm, data: Iterable[Any]) -> None:
    """Replace the running statistics of this rank by the averages over the batches of all ranks of a shard."""
    counts = gather_ranks(data, int(norm.num_batches_tracked or 0))
    if len(counts) == 1 or not sum(counts):
        return
    for name in ("running_mean", "running_var"):
        means = gather_ranks(data, getattr(norm, name))
        getattr(norm, name).copy_(sum(count * mean for count, mean in zip(counts, means, strict=True)) / sum(counts))
    assert norm.num_batches_tracked is not None, "a batch norm with running statistics counts batches"
    norm.num_batches_tracked.fill_(sum(counts))
