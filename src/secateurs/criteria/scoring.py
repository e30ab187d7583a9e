"""Score the groups of a model by one criterion, and combine the scores of the criteria that a composite is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secateurs.budgets import Scope
from secateurs.criteria.criterion import AnyCriterion, Criterion, GroupScores
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.weight_view import Sources
from secateurs.errors import CriterionError, SecateursError, UnscorableError, UnscoredWarning
from secateurs.structure import Group, Structure
from secateurs.utils import list_reasons, warn_user

AUTO = "auto"
"""Aggregate in the way that suits the criterion."""


class Scoring:
    """Scores groups by one criterion, one group after the other.

    Attributes:
        scores: the scores of each group that the criterion can score.
        unscored: the reason for each other group.
    """

    def __init__(self, criterion: Criterion, aggregate: str, seed: int):
        self._criterion = criterion
        self._aggregate = ("sum" if criterion.scope == Scope.PER_COST else "mean") if aggregate == AUTO else aggregate
        self._generator = torch.Generator().manual_seed(seed)
        self.scores: dict[str, Tensor] = {}
        self.unscored: dict[str, str] = {}

    def add(self, group: Group, sources: Sources) -> None:
        """Score a group."""
        evidence = Evidence(group, self._generator, sources, self._aggregate)
        try:
            self.scores[group.name] = _score_group(self._criterion, evidence)
        except UnscorableError as error:
            self.unscored[group.name] = str(error)


def score_groups(criterion: Criterion, sources: Sources, aggregate: str, seed: int) -> dict[str, Tensor]:
    """The scores of all groups that the criterion can score; a warning names the others.

    Raises:
        CriterionError: the criterion can score no group.
    """
    scoring = Scoring(criterion, aggregate, seed)
    for group in sources.structure.groups.values():
        scoring.add(group, sources)
    warn_of_unscored(criterion.name, scoring.scores, scoring.unscored)
    return scoring.scores


def warn_of_unscored(criterion: str, scores: Mapping[str, Any], unscored: Mapping[str, str]) -> None:
    """Warn of groups that a criterion cannot score.

    Raises:
        CriterionError: the criterion can score no group.
    """
    if not unscored:
        return
    if not scores:
        raise CriterionError(f"criterion {criterion!r} can score no group of this model: {list_reasons(unscored)}")
    warn_user(
        f"criterion {criterion!r} cannot score these groups, which stay whole: {list_reasons(unscored)}",
        UnscoredWarning,
    )


def join_leaves(
    criterion: AnyCriterion, leaf_scores: Mapping[Criterion, GroupScores], structure: Structure
) -> dict[str, Tensor]:
    """The scores of a criterion from those of its leaves.

    Raises:
        CriterionError: no group has scores of all parts, or a score is not finite.
    """
    if isinstance(criterion, Criterion):
        return dict(leaf_scores[criterion])
    parts = {part.name: join_leaves(part, leaf_scores, structure) for part in criterion.parts}
    common = [name for name in structure.groups if all(name in scores for scores in parts.values())]
    if structure.groups and not common:
        raise CriterionError(f"no group can be scored by all parts of criterion {criterion.name!r}")
    joined = criterion.join({part: {name: scores[name] for name in common} for part, scores in parts.items()})
    return {name: _finite(criterion.name, structure.groups[name], joined[name]) for name in common}


def _score_group(criterion: Criterion, evidence: Evidence) -> Tensor:
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
