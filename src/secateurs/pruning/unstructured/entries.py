"""The weights whose entries can be removed, and the scores of these entries."""

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

UNSEEN = "no linear layer or convolution is seen to sum over it"
BOTH_SIDES = "the model multiplies it from both sides"


def gradients_for(criterion: Criterion) -> Sequence[str]:
    """The gradients that scoring single entries needs."""
    return criterion.gradients if criterion.entry_gradients is None else criterion.entry_gradients


def maskable(
    model: nn.Module, structure: Structure, keep: Sequence[str]
) -> tuple[dict[str, Contraction], dict[str, str]]:
    """The weights that linear layers and convolutions sum over, each with where it does; and the others, and why not.

    Vectors are not listed, whatever the number of their dimensions.

    Raises:
        NoMatchError: an entry of `keep` matches nothing.
    """
    tensors = dict(named_tensors(model))
    kept = {id(tensors[name]): pattern for name, pattern in matching(model, keep).items()}
    found: dict[str, Contraction] = {}
    skipped: dict[str, str] = {}
    for name, axes in structure.axes.items():
        places = [c for c in structure.contractions if c.weight == name]
        if name not in structure.parameters or (not places and sum(axis.size > 1 for axis in axes) < 2):
            continue
        if id(tensors[name]) in kept:
            skipped[name] = f"kept: {kept[id(tensors[name])]!r}"
        elif name in structure.tables:
            skipped[name] = "rows of it are looked up"
        elif name not in structure.used:
            skipped[name] = "not used in the forward pass"
        elif len({place.dim for place in places}) != 1:
            skipped[name] = BOTH_SIDES if places else UNSEEN
        else:
            found[name] = places[0]
    return found, skipped


def score_entries(
    model: nn.Module,
    data: Iterable[Any] | None,
    criterion: Criterion,
    weights: Iterable[str],
    structure: Structure,
    loss: Loss | None,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Scores in the shapes of the weights, higher = keep; and the weights that the criterion cannot score, and why."""
    assert criterion.entries is not None, "mask() lets no other pass"
    seen = [c for c in structure.contractions if c.weight in set(weights)]
    requests = [request for request in criterion.requests if request.place in ("operand", "maps")]
    wanted = {request.of(c).operand: [request.statistic] for request in requests for c in seen}
    sources = collect(model, data, wanted, set(gradients_for(criterion)), structure, loss, seed, progress)
    generator = torch.Generator().manual_seed(seed)
    scores: dict[str, Tensor] = {}
    unscored: dict[str, str] = {}
    for name in weights:
        weight = Weight.named(name, sources, generator)
        try:
            scores[name] = _checked(criterion, weight)
        except UnscorableError as error:
            unscored[name] = str(error)
    return scores, unscored


def _checked(criterion: Criterion, weight: Weight) -> Tensor:
    what = f"criterion {criterion.name!r}, entries of weight {weight.name!r}"
    try:
        scores = criterion.entries(weight).detach()  # type: ignore[misc]
        scores = scores.to(weight.value.device, torch.promote_types(scores.dtype, torch.float32))
    except SecateursError:
        raise
    except Exception as error:
        raise CriterionError(f"{what}: failed with {type(error).__name__}: {error}") from error
    if scores.shape != weight.value.shape:
        raise CriterionError(f"{what}: scores of shape {list(scores.shape)} for {list(weight.value.shape)} entries")
    if bad := int((~torch.isfinite(scores)).sum()):
        raise CriterionError(f"{what}: {bad} scores are not finite; check the weights for NaN")
    return scores
