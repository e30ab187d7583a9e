"""Score the groups of a model by one criterion, and join the scores of a composite's parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secateurs.budgets import Scope
from secateurs.criteria.aggregate import AUTO
from secateurs.criteria.criterion import AnyCriterion, Criterion, GroupScores
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.weight_view import Sources
from secateurs.errors import CriterionError, SecateursError, UnscorableError, UnscoredWarning
from secateurs.structure import Group, Structure
from secateurs.utils import list_reasons, warn_user


class Scoring:
    """The scores of one criterion, collected group by group.

    Args:
        criterion: the criterion.
        aggregate: "mean", "max", "sum" or "auto"; see `score_many`.
        seed: the seed of the random number generator, which all groups share.

    Attributes:
        scores: group name to scores [units], for the groups that the criterion can score.
        unscored: group name to reason, for all other groups.
    """

    def __init__(self, criterion: Criterion, aggregate: str, seed: int):
        self._criterion = criterion
        self._aggregate = ("sum" if criterion.scope == Scope.PER_COST else "mean") if aggregate == AUTO else aggregate
        self._generator = torch.Generator().manual_seed(seed)
        self.scores: dict[str, Tensor] = {}
        self.unscored: dict[str, str] = {}

    def add(self, group: Group, sources: Sources) -> None:
        """Score one group, or record the reason why the criterion cannot score the group.

        Args:
            group: the group of units.
            sources: the collected tensors, statistics and gradients.

        Raises:
            CriterionError: the criterion fails, or returns scores that have the wrong shape or are not finite.
        """
        evidence = Evidence(group, self._generator, sources, self._aggregate)
        try:
            self.scores[group.name] = _score_group(self._criterion, evidence)
        except UnscorableError as error:
            self.unscored[group.name] = str(error)


def score_groups(criterion: Criterion, sources: Sources, aggregate: str, seed: int) -> dict[str, Tensor]:
    """Score all groups that the criterion can score; a warning names the other groups.

    Args:
        criterion: the criterion.
        sources: the collected tensors, statistics and gradients.
        aggregate: "mean", "max", "sum" or "auto"; see `score_many`.
        seed: the seed of the random number generator.

    Returns:
        Group name to scores [units].

    Raises:
        CriterionError: the criterion can score no group, fails, or returns invalid scores.
    """
    scoring = Scoring(criterion, aggregate, seed)
    for group in sources.structure.groups.values():
        scoring.add(group, sources)
    warn_of_unscored(criterion.name, scoring.scores, scoring.unscored)
    return scoring.scores


def warn_of_unscored(criterion: str, scores: Mapping[str, Any], unscored: Mapping[str, str]) -> None:
    """Warn of the groups that a criterion cannot score.

    Args:
        criterion: the name of the criterion.
        scores: group name to scores, for the groups that the criterion can score.
        unscored: group name to reason, for all other groups.

    Raises:
        CriterionError: the criterion can score no group.
    """
    if not unscored:
        return
    if not scores:
        raise CriterionError(f"criterion {criterion!r} can score no group of this model: {list_reasons(unscored)}")
    warn_user(
        f"criterion {criterion!r} cannot score some groups, so these groups keep all units: {list_reasons(unscored)}",
        UnscoredWarning,
    )


def join_leaves(
    criterion: AnyCriterion, leaf_scores: Mapping[Criterion, GroupScores], structure: Structure
) -> dict[str, Tensor]:
    """Combine the scores of the leaves of a criterion into the scores of the criterion.

    Args:
        criterion: a criterion or a composite.
        leaf_scores: leaf of the criterion to group name to scores [units]; see `Composite.leaves`.
        structure: the structure of the scored model.

    Returns:
        Group name to scores [units], for the groups that every leaf can score.

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
    """Call the score function of a criterion for one group and check the result."""
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
    """Return the scores if they have the shape [units] and are finite; otherwise raise an error."""
    if scores.shape != (group.size,):
        raise CriterionError(
            f"criterion {criterion!r} returned scores of shape {list(scores.shape)} for the {group.size} units of "
            f"group {group.name!r}; return one score per unit, [{group.size}]"
        )
    if not torch.isfinite(scores).all():
        count = int((~torch.isfinite(scores)).sum())
        raise CriterionError(
            f"criterion {criterion!r} returned {count} scores of group {group.name!r} that are not finite; "
            "check the weights and activations of the group for NaN and infinity"
        )
    return scores
