"""Score every unit of a model by one criterion (`score`) or by several (`score_many`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from secateurs.criteria.aggregate import AGGREGATES, AUTO
from secateurs.criteria.collect import collect_for
from secateurs.criteria.criterion import AnyCriterion, Composite, scoring_passes
from secateurs.criteria.parse import Named, parse_criterion
from secateurs.criteria.scoring import join_leaves, score_groups
from secateurs.criteria.tune import EverySecond
from secateurs.data import Loss, first_batch, map_data
from secateurs.errors import CriterionError, DataError
from secateurs.observe import Observations
from secateurs.structure import Structure, trace
from secateurs.utils import Progress, check_has_values, silent


def score(
    model: nn.Module,
    data: Iterable[Any] | None,
    criterion: Named = "obs",
    structure: Structure | None = None,
    loss: Loss | None = None,
    *,
    aggregate: str = AUTO,
    seed: int = 0,
    observed: Observations | None = None,
    progress: Progress = silent,
) -> dict[str, Tensor]:
    """Score every unit of every group by one criterion.

    Args:
        model: the model; it is evaluated and not changed.
        data: batches; see `score_many`.
        criterion: a name from `secateurs list criteria`, a sum such as "0.7*nexp+0.3*l1", a criterion or a `Hybrid`.
        structure: see `score_many`.
        loss: see `score_many`.
        aggregate: see `score_many`.
        seed: see `score_many`.
        observed: see `score_many`.
        progress: see `score_many`.

    Returns:
        Group name to scores [units], float64 on the CPU, higher = keep.

    Raises:
        SecateursError: see `score_many`.

    Example:
        >>> scores = sc.score(model, data, "nexp")
        >>> {group: len(values) for group, values in scores.items()}
        {'0': 8, '3': 12, '7': 16}
    """
    scores = score_many(
        model, data, [criterion], structure, loss, aggregate=aggregate, seed=seed, observed=observed, progress=progress
    )
    return next(iter(scores.values()))


def score_many(
    model: nn.Module,
    data: Iterable[Any] | None,
    criteria: Sequence[Named],
    structure: Structure | None = None,
    loss: Loss | None = None,
    *,
    aggregate: str = AUTO,
    seed: int = 0,
    observed: Observations | None = None,
    progress: Progress = silent,
) -> dict[str, dict[str, Tensor]]:
    """Score every unit of every group by several criteria, with shared passes over the data.

    All criteria that use activations share one forward pass over the data. Most criteria that use gradients share one
    pass of forward and backward computations.

    Args:
        model: the model; it is evaluated and not changed.
        data: batches; see `secateurs.data.batches`. May be None if every criterion uses weights only.
        criteria: names from `secateurs list criteria`, sums such as "0.7*nexp+0.3*l1", criteria or hybrids.
        structure: the result of `trace`; by default the model is traced with the first samples of the data.
        loss: maps (outputs, targets) to the mean loss of a batch, for criteria that need gradients; by default
            cross-entropy, or the loss that the model returns.
        aggregate: the function that combines the scores of a unit in several layers: "mean", "max", "sum" or "auto".
            "auto" is the sum for criteria of the scope "per-cost", whose scores are losses that add up, and the mean
            for all other criteria.
        seed: the seed of criteria that draw random numbers.
        observed: existing statistics of this model on this data, at taps of this structure (see
            `secateurs.observe.observe`). Only missing statistics are collected.
        progress: wraps the iteration over the data.

    Returns:
        Criterion name to group name to scores [units], float64 on the CPU, higher = keep. Groups that a criterion
        cannot score are missing; an `UnscoredWarning` lists them.

    Raises:
        ModelError: the model is on the meta device.
        CriterionError: a criterion is unknown, needs data that is missing, can score no group, or returns a score that
            is not finite; or no criterion needs the given loss.
        DataError: the data is empty, not accepted by the model or not finite; or the criteria need several passes over
            data that can be read only once.

    Example:
        >>> scores = sc.score_many(model, data, ["l2", "nexp", "fisher"])
        >>> scores["fisher"]["3"].shape
        torch.Size([12])
    """
    check_has_values(model, "scoring")
    if isinstance(criteria, str) or not isinstance(criteria, Sequence) or not criteria:
        raise CriterionError(f"give a list of criteria, not {criteria!r}")
    if aggregate not in (AUTO, *AGGREGATES):
        raise CriterionError(f"unknown aggregate {aggregate!r}; choose one of {', '.join(AGGREGATES)}")
    chosen = [parse_criterion(name) for name in criteria]
    _check_needs(chosen, data, loss)
    if structure is None:
        if data is None:
            raise CriterionError("without data, give the structure: secateurs.trace(model, example_inputs)")
        structure = trace(model, first_batch(data).sample(2))
    tuned = [_tune(criterion, model, data, structure, loss, aggregate, seed, progress) for criterion in chosen]
    leaves = list(dict.fromkeys(leaf for criterion in tuned for leaf in criterion.leaves))
    sources = collect_for(model, data, leaves, structure, loss, seed, progress, observed)
    leaf_scores = {leaf: score_groups(leaf, sources, aggregate, seed) for leaf in leaves}
    return {
        criterion.name: join_leaves(final, leaf_scores, structure)
        for criterion, final in zip(chosen, tuned, strict=True)
    }


def _tune(
    criterion: AnyCriterion,
    model: nn.Module,
    data: Any,
    structure: Structure,
    loss: Loss | None,
    aggregate: str,
    seed: int,
    progress: Progress,
) -> AnyCriterion:
    """Choose the weights of an untuned composite by the loss on every second batch; return other criteria unchanged."""
    if not isinstance(criterion, Composite) or criterion.untuned is None:
        return criterion
    scoring, held_out = (map_data(partial(EverySecond, first=first), data) for first in (0, 1))
    scoring_loss = loss if any(part.needs_loss for part in criterion.parts) else None
    parts = score_many(
        model, scoring, criterion.parts, structure, scoring_loss, aggregate=aggregate, seed=seed, progress=progress
    )
    return criterion.untuned.tuned_criterion(parts, model, structure, held_out, loss, progress)


def _check_needs(chosen: list[AnyCriterion], data: Any, loss: Loss | None) -> None:
    """Check that the criteria have the data that they need, and that a given loss is needed."""
    names = ", ".join(repr(criterion.name) for criterion in chosen)
    if loss is not None and not any(criterion.needs_loss for criterion in chosen):
        raise CriterionError(f"criterion {names} needs no loss; leave `loss` out")
    for criterion in chosen:
        if data is None and criterion.needs_data:
            raise CriterionError(f"criterion {criterion.name!r} needs data; give batches")
    passes = scoring_passes(chosen)
    if passes > 1 and isinstance(data, Iterator):
        raise DataError(
            f"criterion {names} reads the data {passes} times, but an iterator can be read only once; give a list or a "
            "DataLoader"
        )
