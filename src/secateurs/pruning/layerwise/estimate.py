"""Estimate the memory, disk space and time of layer-by-layer pruning before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from secateurs.criteria import AnyCriterion
from secateurs.data import Batch, Call
from secateurs.observe import Moments
from secateurs.pruning.layerwise.execution_plan import ExecutionPlan
from secateurs.pruning.layerwise.model_sizes import DOUBLE, MATRIX_COPIES, ModelSizes
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel
from secateurs.pruning.layerwise.score import statistics_needed
from secateurs.pruning.layerwise.statistics_schedule import Needs
from secateurs.structure import Structure, Tap
from secateurs.utils import render


@dataclass(frozen=True)
class Estimate:
    """An upper bound of the memory that layer-by-layer pruning needs, its disk space and time; `str` is a table.

    Only tensors count. The caches of the memory allocator and the libraries need memory in addition.

    Attributes:
        memory: by step ("scoring", "verifying", "compensating") and purpose, the bytes in memory.
        disk: the bytes of temporary files, beside the pruned model.
        weights: the bytes of all weights, for comparison.
        passes: the number of passes of the data through the model.
        seconds: the time of these passes, extrapolated from a few samples.

    Example:
        >>> from secateurs.pruning.layerwise import Estimate
        >>> Estimate({"scoring": {"weights": 2**20, "data": 2**20}}, disk=0, weights=2**24, passes=1, seconds=9.0).peak
        2097152
    """

    memory: Mapping[str, Mapping[str, int]]
    disk: int
    weights: int
    passes: int
    seconds: float

    @property
    def peak(self) -> int:
        """The largest number of bytes in memory at a time."""
        return max(sum(parts.values()) for parts in self.memory.values())

    def __str__(self) -> str:
        rows = [
            (step, purpose, f"{size / 2**20:,.1f}")
            for step, parts in self.memory.items()
            for purpose, size in parts.items()
        ]
        text = render("in memory, at most", ("step", "purpose", "MB"), rows)
        duration = f"about {self.seconds:,.0f} s, extrapolated from a few samples" if self.passes else "none"
        return text + (
            f"\npeak {self.peak / 2**20:,.1f} MB of tensors; all weights: "
            f"{self.weights / 2**20:,.1f} MB; temporary files: {self.disk / 2**20:,.1f} MB\n"
            f"passes of the data through the model: {self.passes} ({duration})\n"
        )


def estimate(
    offloaded: OffloadedModel,
    plan: ExecutionPlan,
    *,
    sample: Call,
    data: Sequence[Batch],
    structure: Structure,
    criterion: AnyCriterion,
    compensate: bool,
    in_files: bool,
    disk: int,
) -> Estimate:
    """Estimate the cost of layer-by-layer pruning.

    Args:
        offloaded: the dense model.
        plan: the execution plan of the model.
        sample: the call from which the plan was made.
        data: all batches.
        structure: the structure of the model.
        criterion: the criterion of the scores.
        compensate: whether the cut model is compensated.
        in_files: whether outputs of layers are cached in files.
        disk: the bytes of temporary files that exist already.
    """
    sizes = ModelSizes(offloaded, plan, sample, data)
    scoring_needs = statistics_needed(criterion, structure)
    compensation_needs = _compensation_needs(structure) if compensate else {}
    weights = {
        "weights outside of the layers": sizes.outside_layers,
        "weights of the largest layer": sizes.largest_layer,
        "zeros in place of all other weights": sizes.zeros,
    }
    running = {
        "activations of a batch": sizes.activations,
        "data": sum(tensor.nbytes for batch in data for tensor in batch.call.tensors()),
        "cached outputs of layers": sizes.cached_outputs_of_a_batch if in_files else sizes.cached_outputs,
    }
    cut_tensors = [{member.tensor for member in group.members} for group in structure.groups.values()]
    matrix = max((structure.size(name) for names in cut_tensors for name in names), default=0)
    widest_group = max((sum(map(structure.size, names)) for names in cut_tensors), default=0)

    def step(needs: Needs, work: int) -> dict[str, int]:
        observing = {**running, **sizes.statistics(structure, needs)} if needs else {}
        return {**weights, **observing, "matrices in float64": work}

    scoring_work = max(MATRIX_COPIES * DOUBLE * matrix, 2 * DOUBLE * widest_group)
    memory = {"scoring": step(scoring_needs, scoring_work), "verifying": sizes.verification(matrix)}
    if compensate:
        compensating = step(compensation_needs, MATRIX_COPIES * DOUBLE * matrix)
        memory["compensating"] = {**compensating, "a layer of the cut model": sizes.largest_layer}
    passes = bool(scoring_needs) + bool(compensation_needs)
    return Estimate(
        memory=memory,
        disk=disk + (sizes.cached_outputs if in_files and passes else 0),
        weights=sizes.all_weights,
        passes=passes,
        seconds=passes * plan.seconds * sum(map(sizes.ratio, data)),
    )


def _compensation_needs(structure: Structure) -> Needs:
    """The statistics that compensation needs at most: the inputs of all weights that sum over units."""
    needs: dict[str, dict[Tap, tuple[type[Moments]]]] = {}
    for group in structure.groups.values():
        for contraction in structure.contractions_of(group):
            needs.setdefault(contraction.weight, {})[contraction.alike.operand] = (Moments,)
    return needs
