"""Collect the statistics and gradients that criteria need: one pass over the data for each of the two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from secateurs.criteria.criterion import Criterion
from secateurs.criteria.effective_weights import effective_tensors
from secateurs.criteria.weight_view import Sources
from secateurs.data import Loss
from secateurs.observe import Gradient, Observations, Pooled, Statistic, Wanted, differentiate, memory, observe
from secateurs.structure import Structure, Tap
from secateurs.utils import Progress, silent


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
    """Collect the statistics and gradients that these criteria need; see `collect` for the arguments."""
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
    """Collect statistics of activations, and gradients.

    Args:
        model: the model; evaluated, not changed.
        data: batches; None if no statistic and no gradient needs data.
        wanted: the statistics to collect at each tap.
        gradients: the gradients to compute.
        structure: of the model.
        loss: see `score_many`.
        seed: for gradients that draw random numbers.
        progress: wraps the iteration over the data.
        observed: statistics that exist already and are not collected again.

    Returns:
        The tensors of the model, the statistics and the gradients.
    """
    data = () if data is None else data
    return Sources(
        structure=structure,
        tensors=effective_tensors(model),
        norms=norms_of(model),
        observations=observe(model, data, wanted, progress, progress_text(wanted), observed),
        gradients=differentiate(model, data, gradients, structure, loss, seed, progress),
    )


def progress_text(wanted: Wanted) -> str:
    """The label of the progress bar of a pass that collects these statistics."""
    return f"observing (keeps up to {memory(wanted, Pooled.LARGEST) / 2**20:,.0f} MB)"


def norms_of(model: nn.Module) -> frozenset[str]:
    """The names of the normalisations of a model: all modules with "Norm" in the name of the class."""
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
    """Estimate the bytes that scoring keeps in memory, in addition to the model and its activations.

    Args:
        criteria: the criteria that score together.
        structure: of the model. Inputs are assumed to have the size that the model was traced on.
        samples: the number of samples in the data.

    Returns:
        The number of bytes.
    """
    parameters = sum(map(structure.size, structure.parameters))
    statistics = memory(requested_statistics(criteria, structure), samples)
    return statistics + 4 * parameters * len(requested_gradients(criteria))
