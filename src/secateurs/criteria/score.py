"""`score`: what a criterion says of every unit of a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.criteria.registry import Criterion, Evidence, find
from secateurs.data import first_batch, named_tensors, need_values
from secateurs.errors import CriterionError, SecateursError
from secateurs.losses import Loss
from secateurs.observe import observe
from secateurs.progress import Progress, silent
from secateurs.structure import Structure, trace


def score(
    model: nn.Module,
    data: Iterable[Any] | None,
    criterion: str | Criterion = "nexp",
    structure: Structure | None = None,
    loss: Loss | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Tensor]:
    """Score every unit of every group.

    Args:
        model: the model; evaluated, not changed.
        data: see `secateurs.data.batches`; read once. May be None for a criterion of weights.
        criterion: a name from `secateurs list`, or a criterion.
        structure: from `trace`; by default the model is traced on the first sample of the data.
        loss: for criteria that need gradients. None of those that come with this version does, and giving a loss to
            a criterion that does not need it is an error.
        seed: for criteria that draw random numbers.
        progress: wraps the iteration over the data.

    Returns:
        Group name to scores [units], float64 on the CPU, higher = keep.

    Raises:
        ModelError: the model is on the meta device.
        CriterionError: the criterion is unknown, lacks what it needs, or gives a score that is not finite.
        DataError: see `secateurs.observe.observe`.
    """
    need_values(model, "scoring")
    chosen = find(criterion)
    if loss is not None:
        raise CriterionError(f"criterion {chosen.name!r} needs no gradients: leave `loss` out")
    if data is None and chosen.requests:
        raise CriterionError(f"criterion {chosen.name!r} needs data")
    data = () if data is None else data
    if structure is None:
        structure = trace(model, first_batch(data).sample(2))
    observations = observe(model, data, structure, chosen.requests, progress) if chosen.requests else {}
    tensors = dict(named_tensors(model))
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _checked(chosen, Evidence(group, generator, structure, tensors, observations))
        for name, group in structure.groups.items()
    }


def _checked(criterion: Criterion, evidence: Evidence) -> Tensor:
    group = evidence.group
    try:
        scores = torch.as_tensor(criterion.score(evidence)).detach().double().cpu()
    except SecateursError:
        raise
    except Exception as error:
        raise CriterionError(
            f"criterion {criterion.name!r} failed on group {group.name!r}: {type(error).__name__}: {error}"
        ) from error
    if scores.shape != (group.size,):
        raise CriterionError(
            f"criterion {criterion.name!r} gave scores of shape {list(scores.shape)} for the {group.size} units "
            f"of group {group.name!r}"
        )
    if not torch.isfinite(scores).all():
        bad = int((~torch.isfinite(scores)).sum())
        raise CriterionError(
            f"criterion {criterion.name!r} gave {bad} scores of group {group.name!r} that are not finite; "
            "check its weights for NaN"
        )
    return scores
