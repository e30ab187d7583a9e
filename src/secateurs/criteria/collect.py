"""Gather what criteria need: one pass for all activations, one for all gradients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from secateurs.criteria.criterion import Criterion
from secateurs.criteria.synflow import synaptic_order, through_units
from secateurs.criteria.weight_view import Sources
from secateurs.data import Loss
from secateurs.observe import (
    Gradients,
    Observations,
    Pooled,
    Statistic,
    Wanted,
    differentiate,
    memory,
    observe,
    synaptic_flow,
)
from secateurs.structure import Structure, Tap
from secateurs.utils import Progress, named_tensors, silent


def gather(
    model: nn.Module,
    data: Iterable[Any] | None,
    criteria: Sequence[Criterion],
    structure: Structure,
    loss: Loss | None = None,
    seed: int = 0,
    progress: Progress = silent,
    observed: Observations | None = None,
) -> Sources:
    """Everything that these criteria look at; statistics that were observed already are not collected again."""
    kinds = {kind for criterion in criteria for kind in criterion.gradients}
    return collect(
        model, data, requested_statistics(criteria, structure), kinds, structure, loss, seed, progress, observed
    )


def collect(
    model: nn.Module,
    data: Iterable[Any] | None,
    wanted: Wanted,
    kinds: set[str],
    structure: Structure,
    loss: Loss | None,
    seed: int,
    progress: Progress,
    observed: Observations | None = None,
) -> Sources:
    """These statistics and gradients; data may be None where neither looks at any."""
    data = () if data is None else data
    return Sources(
        structure=structure,
        tensors=dict(named_tensors(model)),
        norms=norms_of(model),
        observations=observe(model, data, wanted, progress, progress_text(wanted), observed),
        gradients=_gradients(model, data, kinds, structure, loss, seed, progress),
    )


def progress_text(wanted: Wanted) -> str:
    """What progress over a pass that collects these is shown as."""
    return f"observing (keeps up to {memory(wanted, Pooled.LARGEST) / 2**20:,.0f} MB)"


def norms_of(model: nn.Module) -> frozenset[str]:
    """The names of the normalisations of a model, going by their classes."""
    return frozenset(name for name, module in model.named_modules() if "Norm" in type(module).__name__)


def requested_statistics(criteria: Sequence[Criterion], structure: Structure) -> Wanted:
    """Which statistics these criteria need at which taps."""
    wanted: dict[Tap, dict[type[Statistic], None]] = defaultdict(dict)
    requests = dict.fromkeys(request for criterion in criteria for request in criterion.requests)
    for group in structure.groups.values():
        taps = {
            "after": group.after,
            "fired": group.fired,
            "around": [tap for pair in group.activations for tap in pair],
            "operand": [c.operand for c in structure.contractions_of(group)],
            "maps": [c.alike.operand for c in structure.contractions_of(group)],
            "arrival": [tap for c in structure.contractions_of(group) for tap in c.arrival or ()],
        }
        for request in requests:
            for tap in taps[request.place]:
                wanted[tap][request.statistic] = None
    return wanted


def memory_of(criteria: Sequence[Criterion], structure: Structure, samples: int) -> int:
    """The bytes that scoring by these criteria keeps in memory, beside the model and its activations.

    For inputs of the size that the structure was traced on.
    """
    kinds = {kind for criterion in criteria for kind in criterion.gradients}
    parameters = sum(map(structure.size, structure.parameters))
    return memory(requested_statistics(criteria, structure), samples) + 4 * parameters * len(kinds)


def _gradients(
    model: nn.Module,
    data: Iterable[Any],
    kinds: set[str],
    structure: Structure,
    loss: Loss | None,
    seed: int,
    progress: Progress,
) -> Gradients:
    found: dict[str, Mapping[str, Tensor]] = {}
    if of_loss := {kind for kind in kinds if not kind.startswith("synaptic")}:
        gates = {name: partial(through_units, structure, group) for name, group in structure.groups.items()}
        found |= differentiate(model, data, of_loss, loss, gates, seed, progress)
    if "synaptic-flow" in kinds:
        found["synaptic-flow"] = synaptic_flow(model, structure.inputs)
    if "synaptic-order" in kinds:
        found["synaptic-order"] = synaptic_order(model, structure, progress)
    return found
