"""Scores, stage by stage: each group is scored as soon as all of its units have been seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from secateurs.criteria import AnyCriterion, Criterion
from secateurs.criteria.evidence import Sources
from secateurs.criteria.gather import norms_of, wanted_by
from secateurs.criteria.score import Scoring, joined
from secateurs.errors import CriterionError
from secateurs.layerwise.hollow import Hollow
from secateurs.layerwise.stages import Stages
from secateurs.observe import Wanted, observe
from secateurs.progress import Progress
from secateurs.structure import Structure, Tap


def check_local(criteria: Sequence[AnyCriterion]) -> None:
    """See that criteria look at nothing but weights and activations.

    Raises:
        CriterionError: one needs gradients, which go through all layers at once.
    """
    for criterion in criteria:
        if criterion.needs_loss or any(leaf.gradients for leaf in criterion.leaves):
            raise CriterionError(
                f"criterion {criterion.name!r} needs gradients, which go through all layers at once, so that it cannot "
                "score layer by layer; choose one of weights and activations such as wanda, flap, obs, nexp or l2, or "
                "prune the whole model"
            )


def score_by_stages(
    stages: Stages,
    weights: Hollow,
    criterion: AnyCriterion,
    structure: Structure,
    aggregate: str,
    seed: int,
    progress: Progress,
) -> dict[str, Tensor]:
    """As `secateurs.score`, with no more in memory than one layer needs.

    Args:
        stages: of the model, on the data.
        weights: of the model.
        criterion: of weights and activations.
        structure, aggregate, seed, progress: see `secateurs.score`.

    Raises:
        CriterionError, DataError: see `secateurs.score`.
    """
    observations: dict[Any, Any] = {}
    sources = Sources(structure, weights, observations, norms=norms_of(stages.model))
    scorings = {leaf: Scoring(leaf, aggregate, seed) for leaf in criterion.leaves}
    observing = [leaf for leaf in scorings if leaf.requests]
    for leaf in scorings.keys() - set(observing):
        for group in structure.groups.values():
            scorings[leaf].add(group, sources)
    due = _Due(stages, observing, structure)
    for name in due.stages:
        with stages.at(name) as data:
            observations |= observe(stages.model, data, due.wanted(name), progress, f"observing {name}")
            for group in due.at(name):
                for leaf in observing:
                    scorings[leaf].add(structure.groups[group], sources)
        for key in [key for key in observations if key[0] not in due.later(name)]:
            del observations[key]
    found = {leaf: _in_order(scoring, structure) for leaf, scoring in scorings.items()}
    return joined(criterion, found, structure)


def _in_order(scoring: Scoring, structure: Structure) -> dict[str, Tensor]:
    return {name: scoring.scores[name] for name in structure.groups if name in scoring.scores}


class _Due:
    """What is observed in which stage, and which groups have been seen then.

    Attributes:
        stages: up to the last in which something is observed.
    """

    def __init__(self, stages: Stages, criteria: Sequence[Criterion], structure: Structure):
        self._numbers = {name: number for number, name in enumerate(stages.names)}
        self._wanted: dict[str, dict[Tap, dict[Any, None]]] = defaultdict(lambda: defaultdict(dict))
        self._last: dict[str, int] = {}
        self._until: dict[Tap, int] = {}
        for name, group in structure.groups.items():
            wanted = wanted_by(criteria, replace(structure, groups={name: group}))
            turns = {tap: self._numbers[stages.of(tap.site.module)] for tap in wanted}
            self._last[name] = max(turns.values(), default=0)
            for tap, kinds in wanted.items():
                self._wanted[stages.names[turns[tap]]][tap] |= dict.fromkeys(kinds)
                self._until[tap] = max(self._until.get(tap, 0), self._last[name])
        self.stages = stages.names[: max(self._until.values(), default=-1) + 1]

    def wanted(self, stage: str) -> Wanted:
        """What is observed in a stage."""
        return self._wanted.get(stage, {})

    def at(self, stage: str) -> list[str]:
        """The groups that have been seen after this stage, and not before."""
        return [name for name, last in self._last.items() if last == self._numbers[stage]]

    def later(self, stage: str) -> set[Tap]:
        """Where something was or will be observed that groups need which are due after this stage."""
        return {tap for tap, last in self._until.items() if last > self._numbers[stage]}
