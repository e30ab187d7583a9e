"""Collect the statistics of activations and the gradients that criteria need.

All statistics come from one pass over the data. Gradients take further passes (see `gradient_passes`).
"""

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
    """Collect the statistics and gradients that these criteria need.

    Args:
        model: see `collect`.
        data: see `collect`.
        criteria: the criteria that will score the model.
        structure: see `collect`.
        loss: see `collect`.
        seed: see `collect`.
        progress: see `collect`.
        observed: see `collect`.

    Returns:
        The tensors of the model, the statistics and the gradients.

    Raises:
        DataError: see `secateurs.observe.observe` and `secateurs.observe.differentiate`.
    """
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
        model: the model; it is evaluated and not changed.
        data: batches; None if no statistic and no gradient needs data.
        wanted: the statistics to collect at each tap.
        gradients: the gradients to compute.
        structure: the structure of the model.
        loss: see `score_many`.
        seed: the seed of gradients that draw random numbers.
        progress: wraps the iteration over the data.
        observed: existing statistics, which are not collected again.

    Returns:
        The tensors of the model, the statistics and the gradients.

    Raises:
        DataError: see `secateurs.observe.observe` and `secateurs.observe.differentiate`.
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
    """Label the progress bar of a pass over the data.

    Args:
        wanted: the statistics that the pass collects at each tap.

    Returns:
        A label that names the largest amount of memory that the statistics need.
    """
    return f"observing (keeps up to {memory(wanted, Pooled.LARGEST) / 2**20:,.0f} MB)"


def norms_of(model: nn.Module) -> frozenset[str]:
    """List the normalisations of a model.

    Args:
        model: the model.

    Returns:
        The names of all modules whose class has "Norm" in its name.
    """
    return frozenset(name for name, module in model.named_modules() if "Norm" in type(module).__name__)


def requested_statistics(criteria: Sequence[Criterion], structure: Structure) -> Wanted:
    """List the statistics that criteria need.

    Args:
        criteria: the criteria that will score the model.
        structure: the structure of the model.

    Returns:
        Tap to the classes of the statistics to collect there; each statistic appears once.
    """
    wanted: dict[Tap, dict[type[Statistic], None]] = defaultdict(dict)
    requests = dict.fromkeys(request for criterion in criteria for request in criterion.requests)
    for group in structure.groups.values():
        for request in requests:
            for tap in request.taps(group, structure):
                wanted[tap][request.statistic] = None
    return wanted


def requested_gradients(criteria: Sequence[Criterion]) -> list[Gradient]:
    """List the gradients that criteria need; each gradient appears once."""
    return list(dict.fromkeys(gradient for criterion in criteria for gradient in criterion.gradients))


def memory_of(criteria: Sequence[Criterion], structure: Structure, samples: int) -> int:
    """Estimate the bytes that scoring keeps in memory, in addition to the model and its activations.

    Args:
        criteria: the criteria that score together.
        structure: the structure of the model. Inputs are assumed to have the size that the model was traced with.
        samples: the number of samples in the data.

    Returns:
        The number of bytes.
    """
    parameters = sum(map(structure.size, structure.parameters))
    statistics = memory(requested_statistics(criteria, structure), samples)
    return statistics + 4 * parameters * len(requested_gradients(criteria))
