"""The weights whose entries can be removed, and the scores of the entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.criteria import Criterion, Weight, collect
from secateurs.data import Loss
from secateurs.errors import CriterionError, SecateursError, UnscorableError
from secateurs.structure import Contraction, Structure, matching
from secateurs.utils import Progress, named_tensors

NO_CONTRACTION = "no linear layer or convolution is seen to sum over it"
SEVERAL_DIMENSIONS = "the model multiplies it from both sides"


def maskable_weights(
    model: nn.Module, structure: Structure, keep: Sequence[str]
) -> tuple[dict[str, Contraction], dict[str, str]]:
    """List the weights that linear layers and convolutions sum over, and the weights that cannot be masked.

    Parameters that no operator sums over are listed only if at least two of their dimensions are larger than 1: biases
    and scales are not.

    Returns:
        Weight name → the operator that sums over the weight; weight name → the reason that it cannot be masked.

    Raises:
        NoMatchError: an entry of `keep` matches nothing.
    """
    tensors = dict(named_tensors(model))
    kept = {id(tensors[name]): pattern for name, pattern in matching(model, keep).items()}
    contractions: dict[str, Contraction] = {}
    skipped: dict[str, str] = {}
    for name, axes in structure.axes.items():
        uses = [contraction for contraction in structure.contractions if contraction.weight == name]
        if name not in structure.parameters or (not uses and sum(axis.size > 1 for axis in axes) < 2):
            continue
        if id(tensors[name]) in kept:
            skipped[name] = f"kept: {kept[id(tensors[name])]!r}"
        elif name in structure.tables:
            skipped[name] = "its rows are looked up"
        elif name not in structure.used:
            skipped[name] = "not used in the forward pass"
        elif len({contraction.dim for contraction in uses}) != 1:
            skipped[name] = SEVERAL_DIMENSIONS if uses else NO_CONTRACTION
        else:
            contractions[name] = uses[0]
    return contractions, skipped


def score_entries(
    model: nn.Module,
    data: Iterable[Any] | None,
    criterion: Criterion,
    weights: Iterable[str],
    *,
    structure: Structure,
    loss: Loss | None,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Score the entries of these weights.

    Returns:
        Weight name → scores in the shape of the weight, higher = keep; weight name → the reason that the criterion
        cannot score it.
    """
    assert criterion.entries is not None, "mask() accepts no other criterion"
    names = list(weights)
    contractions = [contraction for contraction in structure.contractions if contraction.weight in names]
    wanted = {
        request.of(contraction).operand: [request.statistic]
        for request in criterion.requests
        for contraction in contractions
    }
    sources = collect(model, data, wanted, criterion.gradients, structure, loss, seed, progress)
    generator = torch.Generator().manual_seed(seed)
    scores: dict[str, Tensor] = {}
    unscored: dict[str, str] = {}
    for name in names:
        weight = Weight.named(name, sources, generator)
        try:
            scores[name] = _checked_scores(criterion, weight)
        except UnscorableError as error:
            unscored[name] = str(error)
    return scores, unscored


def _checked_scores(criterion: Criterion, weight: Weight) -> Tensor:
    """The criterion's scores for one weight, checked for shape and finite values."""
    context = f"criterion {criterion.name!r}, entries of weight {weight.name!r}"
    try:
        scores = criterion.entries(weight).detach()  # type: ignore[misc]
        scores = scores.to(weight.value.device, torch.promote_types(scores.dtype, torch.float32))
    except SecateursError:
        raise
    except Exception as error:
        raise CriterionError(f"{context}: failed with {type(error).__name__}: {error}") from error
    if scores.shape != weight.value.shape:
        raise CriterionError(f"{context}: scores of shape {list(scores.shape)} for {list(weight.value.shape)} entries")
    if bad := int((~torch.isfinite(scores)).sum()):
        raise CriterionError(f"{context}: {bad} scores are not finite; check the weights for NaN")
    return scores
