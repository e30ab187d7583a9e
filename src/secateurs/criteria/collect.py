"""Collect what criteria need: one pass over the data for all activations, one for all gradients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from secateurs.criteria.criterion import Criterion
from secateurs.criteria.weight_view import Sources
from secateurs.data import Loss
from secateurs.observe import Gradient, Observations, Pooled, Statistic, Wanted, differentiate, memory, observe
from secateurs.structure import Structure, Tap
from secateurs.utils import Progress, named_tensors, silent


def collect_for(
    model: nn.Module,
    data: Iterable[Any] | None,
    criteria: Sequence[Criterion],
    structure: Structure,
    loss: Loss | None = None,
    seed: int = 0,
    progress: Progress = silent,
    observed: Observations | None = None,
) -> Sources:
    """Collect everything that these criteria need; statistics in `observed` are not collected again."""
    wanted = requested_statistics(criteria, structure)
    return collect(model, data, wanted, requested_gradients(criteria), structure, loss, seed, progress, observed)


def collect(
    model: nn.Module,
    data: Iterable[Any] | None,
    wanted: Wanted,
    gradients: Iterable[Gradient],
    structure: Structure,
    loss: Loss | None,
    seed: int,
    progress: Progress,
    observed: Observations | None = None,
) -> Sources:
    """Collect these statistics and gradients; data may be None where neither needs any."""
    data = () if data is None else data
    return Sources(
        structure=structure,
        tensors=dict(named_tensors(model)),
        norms=norms_of(model),
        observations=observe(model, data, wanted, progress, progress_text(wanted), observed),
        gradients=differentiate(model, data, gradients, structure, loss, seed, progress),
    )


def progress_text(wanted: Wanted) -> str:
    """The text for the progress of a pass that collects these statistics."""
    return f"observing (keeps up to {memory(wanted, Pooled.LARGEST) / 2**20:,.0f} MB)"


def norms_of(model: nn.Module) -> frozenset[str]:
    """The names of the normalisations of a model: the modules with "Norm" in the name of their class."""
    return frozenset(name for name, module in model.named_modules() if "Norm" in type(module).__name__)


def requested_statistics(criteria: Sequence[Criterion], structure: Structure) -> Wanted:
    """The statistics that these criteria need, by tap."""
    wanted: dict[Tap, dict[type[Statistic], None]] = defaultdict(dict)
    requests = dict.fromkeys(request for criterion in criteria for request in criterion.requests)
    for group in structure.groups.values():
        for request in requests:
            for tap in request.taps(group, structure):
                wanted[tap][request.statistic] = None
    return wanted


def requested_gradients(criteria: Sequence[Criterion]) -> list[Gradient]:
    """The gradients that these criteria need, each once."""
    return list(dict.fromkeys(gradient for criterion in criteria for gradient in criterion.gradients))


def memory_of(criteria: Sequence[Criterion], structure: Structure, samples: int) -> int:
    """The bytes that scoring by these criteria keeps in memory, in addition to the model and its activations.

    For inputs of the size that the structure was traced on.
    """
    parameters = sum(map(structure.size, structure.parameters))
    statistics = memory(requested_statistics(criteria, structure), samples)
    return statistics + 4 * parameters * len(requested_gradients(criteria))
