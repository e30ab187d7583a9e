"""Scores, layer by layer: a group is scored as soon as the statistics of all of its units are complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from secateurs.criteria import (
    AnyCriterion,
    Criterion,
    Scoring,
    Sources,
    join_leaves,
    norms_of,
    requested_statistics,
    warn_of_unscored,
)
from secateurs.errors import CriterionError
from secateurs.observe import Observations
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel
from secateurs.pruning.layerwise.stages import Stages
from secateurs.pruning.layerwise.statistics_schedule import Needs, observe_by_stages
from secateurs.structure import Structure
from secateurs.utils import Progress


def check_local(criterion: AnyCriterion) -> None:
    """Check that a criterion uses nothing but weights and activations.

    Raises:
        CriterionError: the criterion needs gradients, which need all layers at once.
    """
    if criterion.needs_loss or any(leaf.gradients for leaf in criterion.leaves):
        raise CriterionError(
            f"criterion {criterion.name!r} needs gradients, which need all layers in memory at once: choose a "
            "criterion of weights or activations, such as wanda, flap, obs, nexp or l2, or prune the whole model"
        )


def statistics_needed(criterion: AnyCriterion, structure: Structure) -> Needs:
    """The statistics that a criterion needs, by group."""
    leaves = _observing_leaves(criterion)
    groups = structure.groups.items()
    return {
        name: requested_statistics(leaves, replace(structure, groups={name: group})) for name, group in groups if leaves
    }


def score_by_stages(
    stages: Stages,
    weights: OffloadedModel,
    criterion: AnyCriterion,
    *,
    structure: Structure,
    aggregate: str,
    seed: int,
    progress: Progress,
) -> dict[str, Tensor]:
    """Compute the scores of `secateurs.score` with the memory that one layer needs.

    Args:
        stages: the stages of the model, on the data.
        weights: the model's weights.
        criterion: a criterion of weights and activations; see `check_local`.
        structure: the structure of the model.
        aggregate: see `secateurs.score`.
        seed: for criteria that draw random numbers.
        progress: wraps the iteration over the data.

    Returns:
        Group name → scores [units], higher = keep.

    Raises:
        CriterionError, DataError: see `secateurs.score`.
    """
    observing, norms = _observing_leaves(criterion), norms_of(stages.model)
    scorings = {leaf: Scoring(leaf, aggregate, seed) for leaf in criterion.leaves}

    def add(names: Sequence[str], leaves: Sequence[Criterion], observations: Observations) -> None:
        sources = Sources(structure, weights, observations, norms=norms)
        for name in names:
            for leaf in leaves:
                scorings[leaf].add(structure.groups[name], sources)

    add(list(structure.groups), [leaf for leaf in scorings if leaf not in observing], {})
    needs = statistics_needed(criterion, structure)
    observe_by_stages(stages, needs, lambda names, observations: add(names, observing, observations), progress)
    for leaf, scoring in scorings.items():
        warn_of_unscored(leaf.name, scoring.scores, scoring.unscored)
    in_order = {
        leaf: {name: scoring.scores[name] for name in structure.groups if name in scoring.scores}
        for leaf, scoring in scorings.items()
    }
    return join_leaves(criterion, in_order, structure)


def _observing_leaves(criterion: AnyCriterion) -> list[Criterion]:
    return [leaf for leaf in dict.fromkeys(criterion.leaves) if leaf.requests]
