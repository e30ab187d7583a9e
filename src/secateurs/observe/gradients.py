"""Gradients of the loss over data, and what second-order criteria need: streaming sums, one pass each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.data import (
    Batch,
    Loss,
    batches,
    check_same_weights,
    errors_on_all_ranks,
    first_rank_data,
    loss_of,
    sum_over_ranks,
)
from secateurs.errors import DataError
from secateurs.huggingface.text import IGNORE_INDEX
from secateurs.utils import Progress, device_of, differentiating, silent

PROBES = 100
"""Rademacher probes of the Hessian's diagonal (Hutchinson); fewer leave its sign to chance on ReLU networks."""

KINDS = {
    "gradient": "the gradient of the mean loss",
    "fisher": "the mean over samples of the squared gradient of a sample's loss (diagonal of the empirical Fisher)",
    "gate": "the mean over samples of (sum over a unit's uses of weight × gradient of a sample's loss)²",
    "hessian": f"the Hessian's diagonal on the first batch, by {PROBES} Rademacher probes",
    "hessian-gradient": "the Hessian times the gradient, both of the mean loss",
    "synaptic-flow": "what flows through each parameter when all are positive, on an input of ones; see `flow.py`",
    "synaptic-order": "when each unit goes if those with the least flow go first, a few at a time",
}
"""What can be asked for: per entry of every parameter; "gate" and "synaptic-order" per unit of every group."""

Gradients = Mapping[str, Mapping[str, Tensor]]
"""For each kind, a tensor per parameter, or per group."""

Gates = Mapping[str, Callable[[Mapping[str, Tensor]], Tensor]]
"""Per group, a function of a tensor per parameter that sums, per unit, over the entries that use the unit."""


def differentiate(
    model: nn.Module,
    data: Iterable[Any],
    kinds: Iterable[str],
    loss: Loss | None = None,
    gates: Gates | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Gradients:
    """Collect gradients in evaluation mode; the model is not changed.

    "fisher" and "gate" take one backward pass per sample; "gradient" takes one per batch (one per sample where samples
    have different numbers of labels, as texts of several lengths do) and comes with them at no cost; "hessian" takes
    its probes on the first batch alone; "hessian-gradient" takes a second pass over the data.

    Args:
        model: all of its parameters are differentiated, those that require no gradient too.
        data: batches with targets, or dicts with labels; read once, or twice for "hessian-gradient". Of a shard, the
            gradients are those of all ranks' data.
        kinds: of `KINDS`, but for the synaptic ones.
        loss: see `secateurs.losses.loss_of`; it must be a mean over samples.
        gates: for "gate".
        seed: of the probes.
        progress: wraps the iteration over the data.

    Raises:
        DataError: the data has no targets, the model refuses a batch, or a gradient is not finite; on all ranks, if it
            is so on one.
        UsageError: ranks hold different models.
    """
    check_same_weights(data, model)
    kinds, found = set(kinds), {}
    with differentiating(model) as parameters:
        if kinds & {"gradient", "fisher", "gate", "hessian-gradient"}:
            found |= _sums(model, parameters, data, loss, kinds, gates or {}, progress)
        if "hessian" in kinds:
            found["hessian"] = _diagonal(model, parameters, data, loss, seed)
        if "hessian-gradient" in kinds:
            found["hessian-gradient"] = _curved(model, parameters, data, loss, found["gradient"], progress)
    for kind, its in found.items():
        for name, tensor in its.items():
            if not torch.isfinite(tensor).all():
                raise DataError(f"the {kind} of {name!r} is not finite; check the inputs, the targets and the weights")
    return found


def _sums(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    data: Iterable[Any],
    loss: Loss | None,
    kinds: set[str],
    gates: Gates,
    progress: Progress,
) -> dict[str, dict[str, Tensor]]:
    single = bool(kinds & {"fisher", "gate"})
    means: dict[str, dict[str, Tensor]] = {kind: {} for kind in ("gradient", *sorted(kinds & {"fisher", "gate"}))}
    samples = 0

    def add(kind: str, name: str, value: Tensor) -> None:
        if name in means[kind]:
            means[kind][name] += value
        else:
            means[kind][name] = value

    with errors_on_all_ranks(data):
        for batch in _parts(progress(batches(data), "differentiating"), single):
            samples += batch.size
            gradients = _gradients(model, parameters, batch, loss)
            for name, its in gradients.items():
                add("gradient", name, its * batch.size)
                if "fisher" in kinds:
                    add("fisher", name, its.square())
            if "gate" in kinds:
                effects = {name: parameters[name].detach() * its for name, its in gradients.items()}
                for group, gate in gates.items():
                    add("gate", group, gate(effects).square())
    samples = sum_over_ranks(data, samples)
    return {
        kind: {name: sum_over_ranks(data, total) / samples for name, total in its.items()}
        for kind, its in means.items()
    }


def _parts(whole: Iterable[Batch], single: bool) -> Iterator[Batch]:
    for batch in whole:
        yield from batch.singles() if single or _uneven(batch.labels) else (batch,)


def _uneven(labels: Any) -> bool:
    """Whether samples have different numbers of labels: then the mean over those is not the mean over samples."""
    if not isinstance(labels, Tensor) or labels.ndim < 2 or labels.is_floating_point():
        return False
    counts = (labels != IGNORE_INDEX).flatten(1).sum(1)
    return bool((counts != counts[0]).any())


def _gradients(
    model: nn.Module, parameters: Mapping[str, Tensor], batch: Batch, loss: Loss | None, graph: bool = False
) -> dict[str, Tensor]:
    """The gradient of the mean loss of a batch with regard to every parameter, zero where it plays no part."""
    batch = batch.to(device_of(model))
    try:
        outputs = batch.call.copy().run(model)
    except Exception as error:
        raise batch.refused(error) from error
    value = loss_of(outputs, batch, loss)
    try:
        its = torch.autograd.grad(value, list(parameters.values()), create_graph=graph, materialize_grads=True)
    except RuntimeError as error:
        raise DataError(f"the loss of batch {batch.index} has no gradient: {error}") from error
    return dict(zip(parameters, its, strict=True))


def _diagonal(
    model: nn.Module, parameters: Mapping[str, Tensor], data: Iterable[Any], loss: Loss | None, seed: int
) -> dict[str, Tensor]:
    """Hutchinson's estimate: the mean of v ⊙ Hv over vectors v of random signs (Pearlmutter's products)."""
    generator = torch.Generator().manual_seed(seed)
    gradients = _gradients(model, parameters, next(batches(first_rank_data(data))), loss, graph=True)
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for _ in range(PROBES):
        probe = {name: (2 * torch.randint(2, p.shape, generator=generator) - 1).to(p) for name, p in parameters.items()}
        for name, product in _product(parameters, gradients, probe).items():
            total[name] += probe[name] * product / PROBES
    return total


def _curved(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    data: Iterable[Any],
    loss: Loss | None,
    vector: Mapping[str, Tensor],
    progress: Progress,
) -> dict[str, Tensor]:
    """The product of the mean loss's Hessian with a vector."""
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    samples = 0
    with errors_on_all_ranks(data):
        for batch in _parts(progress(batches(data), "differentiating twice"), single=False):
            samples += batch.size
            gradients = _gradients(model, parameters, batch, loss, graph=True)
            for name, product in _product(parameters, gradients, vector).items():
                total[name] += batch.size * product
    samples = sum_over_ranks(data, samples)
    return {name: sum_over_ranks(data, its) / samples for name, its in total.items()}


def _product(
    parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], vector: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    inner = sum((gradients[name] * vector[name]).sum() for name in parameters)
    its = torch.autograd.grad(inner, list(parameters.values()), retain_graph=True, materialize_grads=True)  # type: ignore[arg-type]
    return dict(zip(parameters, its, strict=True))
