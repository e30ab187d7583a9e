"""Compensation, layer by layer: the remaining units compensate for the removed ones, in the cut model's files."""

from __future__ import annotations

from collections.abc import Sequence

from secateurs.budgets import Plan
from secateurs.observe import Moments, Observations
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel
from secateurs.pruning.layerwise.stages import Stages
from secateurs.pruning.layerwise.statistics_schedule import observe_by_stages
from secateurs.pruning.layerwise.weight_files import WeightFiles
from secateurs.structure import Structure
from secateurs.surgery import Compensation, affected_weights, compensate_weights
from secateurs.utils import Progress


def compensate_by_stages(
    stages: Stages,
    dense: OffloadedModel,
    files: WeightFiles,
    *,
    plan: Plan,
    structure: Structure,
    progress: Progress,
) -> Compensation:
    """Compensate as `secateurs.compensate` does, with the memory that one layer needs.

    Args:
        stages: the stages of the dense model, on the data.
        dense: the dense model.
        files: the weights of the cut model; updated.
        plan: the units that are kept.
        structure: the structure of the dense model.
        progress: wraps the iteration over the data.
    """
    affected, skipped = affected_weights(structure, plan)
    errors: dict[str, tuple[float, float]] = {}

    def update(names: Sequence[str], observations: Observations) -> None:
        file_of = {name: files.file_of[dense.file_names[name]] for name in names}
        for file in dict.fromkeys(file_of.values()):
            weights = {name: affected[name] for name in names if file_of[name] == file}
            with files.edit(file) as targets:
                errors.update(compensate_weights(weights, targets, stages.model, dense, plan, structure, observations))

    needs = {name: {c.operand: (Moments,) for c in contractions} for name, contractions in affected.items()}
    observe_by_stages(stages, needs, update, progress, ", to compensate")
    return Compensation.of({name: errors[name] for name in affected}, skipped)
