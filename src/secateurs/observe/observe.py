"""One pass over the data that feeds every statistic asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from secateurs.data import Batch, batches, device_of
from secateurs.errors import DataError
from secateurs.observe.statistics import Statistic
from secateurs.preserve import evaluating
from secateurs.progress import Progress, silent
from secateurs.structure import Structure, Tap
from secateurs.structure.sites import Site, Watcher


class Request(NamedTuple):
    """A statistic of the activations "after" or "before" the non-linearity of every group."""

    place: str
    statistic: type[Statistic]


Observations = dict[tuple[str, Request], list[Statistic]]


def observe(
    model: nn.Module,
    data: Iterable[Any],
    structure: Structure,
    requests: Iterable[Request],
    progress: Progress = silent,
) -> Observations:
    """Run the model once over the data and collect statistics at the taps of its groups.

    Args:
        model: the model that `structure` was traced from; evaluated, not changed.
        data: see `secateurs.data.batches`; targets are not looked at.
        structure: where to look.
        requests: what to collect.
        progress: wraps the iteration over the data.

    Returns:
        For each (group name, request), one statistic per tap of the group.

    Raises:
        DataError: the data is empty, the model refuses a batch, or an activation is not finite.
    """
    watcher = _Observer(model, structure, list(requests))
    device = device_of(model)
    with evaluating(model):
        for batch in progress(batches(data), "observing"):
            watcher.see(batch.to(device))
    watcher.check()
    return watcher.observations


class _Place(NamedTuple):
    """One tap, with what is collected there."""

    group: str
    tap: Tap
    statistics: list[Statistic]


class _Observer(Watcher):
    """Hands what passes the taps to their statistics."""

    def __init__(self, model: nn.Module, structure: Structure, requests: list[Request]):
        super().__init__(model)
        self.observations: Observations = defaultdict(list)
        self._model = model
        self._samples = 0
        self._inputs: dict[Site, list[_Place]] = defaultdict(list)
        self._outputs: dict[Site, list[_Place]] = defaultdict(list)
        self._sums: dict[int, tuple[_Place, Tensor]] = {}
        self._reached: set[int] = set()
        for name, group in structure.groups.items():
            for place in dict.fromkeys(request.place for request in requests):
                for tap in group.after if place == "after" else group.before:
                    self._add(name, tap, [request for request in requests if request.place == place])

    def _add(self, group: str, tap: Tap, requests: list[Request]) -> None:
        statistics = [request.statistic() for request in requests]
        for request, statistic in zip(requests, statistics, strict=True):
            self.observations[group, request].append(statistic)
        (self._outputs if tap.slot < 0 else self._inputs)[tap.site].append(_Place(group, tap, statistics))

    def see(self, batch: Batch) -> None:
        """Run the model on one batch."""
        self._samples = batch.size
        self._reached.clear()
        call = batch.call.copy()
        try:
            with self:
                call.run(self._model)
        except DataError:
            raise
        except Exception as error:
            raise batch.refused(error) from error
        for places in (*self._inputs.values(), *self._outputs.values()):
            for place in places:
                if id(place) not in self._reached:
                    raise DataError(
                        f"group {place.group!r}: batch {batch.index} did not pass {place.tap.site}, where its units "
                        "were seen when the model was traced; trace it on inputs like these"
                    )

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for place in self._inputs.get(site, ()):  # before the operator runs: it may write in place
            self._feed(place, args[place.tap.slot])
        out = func(*args, **kwargs)
        for place in self._outputs.get(site, ()):
            self._feed(place, out[0] if isinstance(out, (tuple, list)) else out)
        return out

    def _feed(self, place: _Place, x: Tensor) -> None:
        try:
            units = place.tap.read(x, self._samples)
        except ValueError as error:
            raise DataError(f"group {place.group!r}: {place.tap.site} does not fit what was traced: {error}") from error
        before = self._sums[id(place)][1] if id(place) in self._sums else 0
        self._sums[id(place)] = place, before + x.sum(dtype=torch.promote_types(x.dtype, torch.float32))
        self._reached.add(id(place))
        for statistic in place.statistics:
            statistic.update(units)

    def check(self) -> None:
        """Raise if anything seen was not finite."""
        for place, total in self._sums.values():
            if not torch.isfinite(total):
                raise DataError(
                    f"group {place.group!r}: the activations at {place.tap.site} are not finite (NaN or infinity); "
                    "check the inputs and the weights"
                )
