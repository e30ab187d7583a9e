"""Compensation, stage by stage: what removed units did, those that stay take over in the files of the cut model."""

from __future__ import annotations

from collections.abc import Sequence

from secateurs.budgets import Plan
from secateurs.observe import Moments, Observations
from secateurs.pruning.layerwise.offloaded_model import Hollow
from secateurs.pruning.layerwise.stages import Stages
from secateurs.pruning.layerwise.statistics_schedule import observe_by_stages
from secateurs.pruning.layerwise.write import Shards
from secateurs.structure import Structure
from secateurs.surgery import Compensation, affected_weights, compensate_weights
from secateurs.utils import Progress


def compensate_by_stages(
    stages: Stages, dense: Hollow, shards: Shards, plan: Plan, structure: Structure, progress: Progress
) -> Compensation:
    """As `secateurs.compensate`, with no more in memory than one layer needs.

    Args:
        stages: of the dense model, on the data.
        dense: the model.
        shards: what the plan left of it; changed.
        plan, structure, progress: see `secateurs.compensate`.
    """
    losers, skipped = affected_weights(structure, plan)
    errors: dict[str, tuple[float, float]] = {}

    def tell(names: Sequence[str], observations: Observations) -> None:
        for file in dict.fromkeys(shards.place[dense.first[name]] for name in names):
            those = {name: losers[name] for name in names if shards.place[dense.first[name]] == file}
            with shards.changed(file) as targets:
                errors.update(compensate_weights(those, targets, stages.model, dense, plan, structure, observations))

    needs = {name: {c.operand: (Moments,) for c in its} for name, its in losers.items()}
    observe_by_stages(stages, needs, tell, progress, ", to compensate")
    return Compensation.of({name: errors[name] for name in losers}, skipped)
