"""Watch the operators of a running model and add activations to statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from secateurs.data import Batch
from secateurs.errors import DataError
from secateurs.huggingface import add_decoder_inputs
from secateurs.observe.padding import without_padding
from secateurs.observe.statistics import Statistic
from secateurs.structure import OUTPUT, Arguments, Frame, ObservedUnits, Site, Tap, Watcher, outputs_of

Wanted = Mapping[Tap, Iterable[type[Statistic]]]
"""The classes of statistics to collect at each tap."""

Observations = Mapping[tuple[Tap, type[Statistic]], Any]
"""Tap and class to the collected statistic."""


class _Place(NamedTuple):
    """One tap, and the statistics collected there so far, by class."""

    tap: Tap
    statistics: dict[type[Statistic], Statistic]


class _Sort(NamedTuple):
    """A sort of rows by expert: the expert of each row before the sort, and the sorted indices of the rows."""

    experts: Tensor
    order: Tensor


class Observer(Watcher):
    """Collects statistics of the activations at each tap, batch by batch."""

    def __init__(self, model: nn.Module, wanted: Wanted):
        super().__init__(model)
        self._places = [_Place(tap, {kind: kind() for kind in statistics}) for tap, statistics in wanted.items()]
        self._model = model
        self._frames: dict[Arguments, Frame] = {}
        self._inputs: dict[Site, list[_Place]] = defaultdict(list)
        self._outputs: dict[Site, list[_Place]] = defaultdict(list)
        self._sorts: dict[Site, _Sort | None] = {place.tap.order: None for place in self._places if place.tap.order}
        self._unsorted: tuple[Tensor, Tensor] | None = None
        self._checking_finite = False
        self._reached: set[Tap] = set()
        self._reached_once: set[Tap] = set()
        self._shared = _SharedWork()
        for place in self._places:
            (self._outputs if place.tap.slot < 0 else self._inputs)[place.tap.site].append(place)

    @property
    def observations(self) -> Observations:
        """The statistics of the batches so far."""
        return {(place.tap, kind): statistic for place in self._places for kind, statistic in place.statistics.items()}

    def add(self, batch: Batch) -> None:
        """Run the model on one batch and add the activations to the statistics.

        Raises:
            DataError: the model does not accept the batch, an activation is not finite, or a tap is not reached.
        """
        batch = replace(batch, call=add_decoder_inputs(self._model, batch.call))
        named = batch.call.named_tensors(self._model)
        arguments = {place.tap.arguments for place in self._places}
        self._frames = {each: each.frame(named, batch.size) for each in arguments}
        self._reached.clear()
        try:
            finite = all(torch.isfinite(t).all() for t in outputs_of(self._run(batch)))
        except DataError:
            raise
        except Exception as error:
            self._check_finite(batch)  # a statistic may have failed on activations that are not finite
            raise batch.model_error(error) from error
        finally:
            self._shared, self._unsorted = _SharedWork(), None
        if not finite:
            self._check_finite(batch)
        self._reached_once |= self._reached
        if missing := [place.tap for place in self._places if place.tap not in self._reached]:
            begun = {tap.site._replace(call=0) for tap in self._reached}  # loops, which shorter data ends earlier
            for tap in missing:
                if tap.site._replace(call=0) not in begun:
                    raise _not_reached(tap, f"batch {batch.index}")

    def check_reached(self) -> None:
        """Check that the units of every tap were observed in at least one batch.

        Raises:
            DataError: the model never ran the operator of a tap.
        """
        for place in self._places:
            if place.tap not in self._reached_once:
                raise _not_reached(place.tap, "the data")

    def _run(self, batch: Batch) -> Any:
        call = batch.call.copy()
        with self:
            return call.run(self._model)

    def _check_finite(self, batch: Batch) -> None:
        """Run the batch again and raise at the first tap where an activation is not finite.

        The second run costs nothing in normal operation: it happens only after an error or outputs that are not finite.
        """
        self._checking_finite = True
        try:
            self._run(batch)
        except DataError:
            raise
        except Exception:  # the caller reports the error of the model
            pass
        finally:
            self._checking_finite = False

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operator and add the inputs and outputs to the statistics."""
        for place in self._inputs.get(site, ()):  # before the operator runs, which may overwrite the input in place
            self._feed(place, args[place.tap.slot])
        out = func(*args, **kwargs)
        if site in self._sorts:
            self._sorts[site] = _Sort(args[0], out[1])
        for place in self._outputs.get(site, ()):
            self._feed(place, out[OUTPUT - place.tap.slot] if isinstance(out, (tuple, list)) else out)
        return out

    def _feed(self, place: _Place, x: Tensor) -> None:
        """Add the units in a tensor to the statistics of a tap."""
        tap = place.tap
        if self._checking_finite:
            _need_finite(tap, x)
            return
        sort = self._sorts[tap.order] if tap.order else None
        x = x if sort is None else self._in_sample_order(x, tap, sort)
        try:
            observed = tap.read(x, self._frames[tap.arguments], sort and sort.experts)
        except ValueError as error:
            raise DataError(f"{tap.owner}: {tap.site} differs from the traced model: {error}") from error
        self._reached.add(tap)
        units, lengths = self._shared.units_of(x, observed, tap)
        for kind, statistic in place.statistics.items():
            if kind.shareable:
                place.statistics[kind] = statistic.merge(self._shared.statistic(kind, units, lengths))
            else:
                place.statistics[kind] = statistic.extended(units, lengths)

    def _in_sample_order(self, x: Tensor, tap: Tap, sort: _Sort) -> Tensor:
        """The rows of x in the order of the samples; cached, because all experts read the same x in turn."""
        if self._unsorted is None or self._unsorted[0] is not x:
            self._unsorted = x, tap.unsorted(x, sort.order)
        return self._unsorted[1]


class _SharedWork:
    """Caches the units without padding and the statistics of the latest tensor, for several taps on one tensor."""

    def __init__(self):
        self._latest: Tensor | None = None
        self._layout: tuple[Any, ...] = ()
        self._units: tuple[Tensor, Tensor | None] | None = None
        self._statistics: dict[type[Statistic], Statistic] = {}

    def units_of(self, x: Tensor, observed: ObservedUnits, tap: Tap) -> tuple[Tensor, Tensor | None]:
        """The units without padding, and the lengths of the samples; see `without_padding`."""
        view = observed.units.shape, observed.units.stride(), observed.units.storage_offset()
        layout = x._version, *view, observed.counted is None, tap.window, tap.expert
        if self._units is None or self._latest is not x or self._layout != layout:
            self._latest, self._layout, self._units, self._statistics = x, layout, without_padding(observed), {}
        return self._units

    def statistic(self, kind: type[Statistic], units: Tensor, lengths: Tensor | None) -> Statistic:
        """The statistic of one batch, for the units of the last call of `units_of`."""
        if kind not in self._statistics:
            self._statistics[kind] = kind.of(units, lengths)
        return self._statistics[kind]


def _need_finite(tap: Tap, x: Tensor) -> None:
    """Raise an error if an activation is not finite."""
    if not torch.isfinite(x).all():
        raise DataError(
            f"{tap.owner}: the activations at {tap.site} are not finite (NaN or infinity); check the inputs and the "
            "weights"
        )


def _not_reached(tap: Tap, data: str) -> DataError:
    """The error for a tap whose operator did not run."""
    return DataError(
        f"{tap.owner}: {data} did not run {tap.site}, where the units were observed when the model was traced; trace "
        "the model on inputs like these"
    )
