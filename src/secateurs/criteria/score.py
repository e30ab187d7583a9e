"""`score`: what criteria say of every unit of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.criteria.collect import gather
from secateurs.criteria.criterion import AnyCriterion, Composite, Criterion, GroupScores
from secateurs.criteria.evidence import AGGREGATES, Evidence
from secateurs.criteria.parse import Named, parse_criterion
from secateurs.criteria.tune import EverySecond, tune
from secateurs.criteria.weight_view import Sources
from secateurs.data import Loss, first_batch, map_data
from secateurs.errors import CriterionError, DataError, SecateursError, UnscorableError, UnscoredWarning
from secateurs.observe import Observations
from secateurs.structure import Group, Structure, trace
from secateurs.utils import Progress, list_reasons, need_values, silent, warn_user

AUTO = "auto"
"""Aggregate as suits the criterion."""


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
    """Score every unit of every group by one criterion; see `score_many`.

    Returns:
        Group name to scores [units], float64 on the CPU, higher = keep.
    """
    how: dict[str, Any] = {"aggregate": aggregate, "seed": seed, "observed": observed, "progress": progress}
    found = score_many(model, data, [criterion], structure, loss, **how)
    return next(iter(found.values()))


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
    """Score every unit of every group by several criteria, which share one pass over the data.

    One forward pass serves all criteria of activations, one pass of gradients all criteria of gradients.

    Args:
        model: the model; evaluated, not changed.
        data: see `secateurs.data.batches`. May be None if every criterion looks at weights alone.
        criteria: names from `secateurs list`, sums such as "0.7*nexp+0.3*l1", criteria or hybrids.
        structure: from `trace`; by default the model is traced on the first samples of the data.
        loss: maps (outputs, targets) to the mean loss of a batch, for criteria that need gradients; by default
            cross-entropy, or the model's own loss. Giving one where none is needed is an error.
        aggregate: how the scores of a unit that lies in several layers become one: "mean", "max" or "sum"; by default
            the sum where scores are what is lost (`Criterion.scope` is "per-cost"), else the mean.
        seed: for criteria that draw random numbers.
        observed: statistics of this model on this data that there are already, at taps of this structure, see
            `secateurs.observe.observe`; only those that are missing are collected.
        progress: wraps the iteration over the data.

    Returns:
        Criterion name to group name to scores [units], float64 on the CPU, higher = keep. A group that a criterion
        cannot score is missing, with an `UnscoredWarning`.

    Raises:
        ModelError: the model is on the meta device.
        CriterionError: a criterion is unknown, lacks what it needs, can score no group, or gives a score that is not
            finite.
        DataError: see `secateurs.observe`; or criteria need several passes over data that can be read only once.
    """
    need_values(model, "scoring")
    if isinstance(criteria, str) or not isinstance(criteria, Sequence) or not criteria:
        raise CriterionError(f"give a list of criteria, not {criteria!r}")
    if aggregate not in (AUTO, *AGGREGATES):
        raise CriterionError(f"aggregate {aggregate!r} is none of {', '.join(AGGREGATES)}")
    chosen = [parse_criterion(name) for name in criteria]
    _check_needs(chosen, data, loss)
    if structure is None:
        if data is None:
            raise CriterionError("without data, give the structure: secateurs.trace(model, example_inputs)")
        structure = trace(model, first_batch(data).sample(2))
    chosen = [_tuned(its, model, data, structure, loss, aggregate, seed, progress) for its in chosen]
    leaves = list(dict.fromkeys(leaf for its in chosen for leaf in its.leaves))
    sources = gather(model, data, leaves, structure, loss, seed, progress, observed)
    found = {leaf: _scored(leaf, sources, aggregate, seed) for leaf in leaves}
    return {its.name: joined(its, found, structure) for its in chosen}


def _tuned(
    criterion: AnyCriterion, model: nn.Module, data: Any, structure: Structure, loss: Any, *how: Any
) -> AnyCriterion:
    """The criterion, its weights chosen if that is left to the data."""
    if isinstance(criterion, Criterion) or criterion.untuned is None:
        return criterion
    aggregate, seed, progress = how
    scoring, held_out = (map_data(partial(EverySecond, first=first), data) for first in (0, 1))
    theirs = loss if any(part.needs_loss for part in criterion.parts) else None
    parts = score_many(
        model, scoring, criterion.parts, structure, theirs, aggregate=aggregate, seed=seed, progress=progress
    )
    return tune(criterion.untuned, parts, model, structure, held_out, loss, progress).criterion()


def _check_needs(chosen: list[AnyCriterion], data: Any, loss: Any) -> None:
    names = ", ".join(repr(its.name) for its in chosen)
    if loss is not None and not any(its.needs_loss for its in chosen):
        raise CriterionError(f"criterion {names} needs no gradients: leave `loss` out")
    for its in chosen:
        if data is None and its.needs_data:
            raise CriterionError(f"criterion {its.name!r} needs data")
    kinds = {kind for its in chosen for leaf in its.leaves for kind in leaf.gradients}
    passes = any(leaf.requests for its in chosen for leaf in its.leaves)
    passes += bool(kinds & {"gradient", "fisher", "gate", "hessian-gradient"})
    passes += len(kinds & {"hessian", "hessian-gradient"})
    passes += sum(isinstance(its, Composite) and its.untuned is not None for its in chosen)
    if passes > 1 and isinstance(data, Iterator):
        raise DataError(f"criterion {names} reads the data {passes} times; give a list or a DataLoader")


class Scoring:
    """What one criterion says of groups, one after the other.

    Attributes:
        scores: of each group that it can score.
        unscored: the others, and why.
    """

    def __init__(self, criterion: Criterion, aggregate: str, seed: int):
        self._criterion = criterion
        self._aggregate = ("sum" if criterion.scope == "per-cost" else "mean") if aggregate == AUTO else aggregate
        self._generator = torch.Generator().manual_seed(seed)
        self.scores: dict[str, Tensor] = {}
        self.unscored: dict[str, str] = {}

    def add(self, group: Group, sources: Sources) -> None:
        """Score a group."""
        evidence = Evidence(group, self._generator, sources, self._aggregate)
        try:
            self.scores[group.name] = _checked(self._criterion, evidence)
        except UnscorableError as error:
            self.unscored[group.name] = str(error)


def _scored(criterion: Criterion, sources: Sources, aggregate: str, seed: int) -> dict[str, Tensor]:
    scoring = Scoring(criterion, aggregate, seed)
    for group in sources.structure.groups.values():
        scoring.add(group, sources)
    report(criterion.name, scoring.scores, scoring.unscored)
    return scoring.scores


def report(criterion: str, scores: Mapping[str, Any], unscored: Mapping[str, str]) -> None:
    """Warn of groups that a criterion cannot score.

    Raises:
        CriterionError: it can score none.
    """
    if not unscored:
        return
    if not scores:
        raise CriterionError(f"criterion {criterion!r} can score no group of this model: {list_reasons(unscored)}")
    warn_user(
        f"criterion {criterion!r} cannot score these groups, which stay whole: {list_reasons(unscored)}",
        UnscoredWarning,
    )


def joined(criterion: AnyCriterion, found: Mapping[Criterion, GroupScores], structure: Structure) -> dict[str, Tensor]:
    """The scores of a criterion from those of the criteria that it is made of in the end."""
    if isinstance(criterion, Criterion):
        return dict(found[criterion])
    parts = {part.name: joined(part, found, structure) for part in criterion.parts}
    common = [name for name in structure.groups if all(name in its for its in parts.values())]
    if structure.groups and not common:
        raise CriterionError(f"no group can be scored by all parts of criterion {criterion.name!r}")
    scores = criterion.join({part: {name: its[name] for name in common} for part, its in parts.items()})
    return {name: _finite(criterion.name, structure.groups[name], scores[name]) for name in common}


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
    return _finite(criterion.name, group, scores)


def _finite(criterion: str, group: Group, scores: Tensor) -> Tensor:
    if scores.shape != (group.size,):
        raise CriterionError(
            f"criterion {criterion!r} gave scores of shape {list(scores.shape)} for the {group.size} units "
            f"of group {group.name!r}"
        )
    if not torch.isfinite(scores).all():
        bad = int((~torch.isfinite(scores)).sum())
        raise CriterionError(
            f"criterion {criterion!r} gave {bad} scores of group {group.name!r} that are not finite; "
            "check its weights for NaN"
        )
    return scores
