"""Collect all requested statistics in one pass over the data (`observe`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from secateurs.data import batches, check_same_weights, errors_on_all_ranks
from secateurs.observe.observer import Observations, Observer, Wanted
from secateurs.observe.statistics import merge_statistics
from secateurs.utils import Progress, device_of, evaluating, silent


def observe(
    model: nn.Module,
    data: Iterable[Any],
    wanted: Wanted,
    progress: Progress = silent,
    description: str = "observing",
    observed: Observations | None = None,
) -> Observations:
    """Run the model once over the data and collect statistics of its activations.

    Args:
        model: the traced model; evaluated, not changed.
        data: batches; see `secateurs.data.batches`. Targets are ignored. If the data is a shard, the statistics cover
            the data of all ranks.
        wanted: the classes of statistics to collect at each tap.
        progress: wraps the iteration over the data.
        description: the label of the progress bar.
        observed: existing statistics, which are not collected again. If no statistic is missing, the model does not
            run.

    Returns:
        One statistic per tap and class, including those in `observed`.

    Raises:
        DataError: the data is empty, the model does not accept a batch, or an activation is not finite. An error on one
            rank is raised on all ranks.
        UsageError: the ranks hold different models.

    Example:
        >>> from secateurs.observe import Totals, observe
        >>> structure = sc.trace(model, example_inputs)
        >>> tap = next(group.after[0] for group in structure.groups.values() if group.after)
        >>> observations = observe(model, data, {tap: [Totals]})
        >>> observations[tap, Totals].mean.shape == (tap.size,)
        True
    """
    observed = observed or {}
    missing = {
        tap: [statistic for statistic in statistics if (tap, statistic) not in observed]
        for tap, statistics in wanted.items()
    }
    missing = {tap: statistics for tap, statistics in missing.items() if statistics}
    if not missing:
        return observed
    check_same_weights(data, model)
    observer = Observer(model, missing)
    device = device_of(model)
    with errors_on_all_ranks(data), evaluating(model):
        for batch in progress(batches(data), description):
            observer.add(batch.to(device))
        observer.check_reached()
    collected = {key: merge_statistics(data, statistic) for key, statistic in observer.observations.items()}
    return {**observed, **collected}


def memory(wanted: Wanted, samples: int) -> int:
    """Estimate the memory of statistics.

    Args:
        wanted: the classes of statistics at each tap.
        samples: the number of samples. Inputs are assumed to have the size that the model was traced on.

    Returns:
        The number of bytes.
    """
    total = 0
    for tap, statistics in wanted.items():
        total += sum(statistic.size(samples, tap.size, tap.positions) for statistic in statistics)
    return total
