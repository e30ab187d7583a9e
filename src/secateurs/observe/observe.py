"""One pass over the data that feeds every statistic asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from secateurs.data import Batch, batches, check_same_weights, errors_on_all_ranks
from secateurs.errors import DataError
from secateurs.huggingface import add_decoder_inputs
from secateurs.observe.padding import without_padding
from secateurs.observe.statistics import Statistic, merge_statistics
from secateurs.structure import OUTPUT, Arguments, Frame, ObservedUnits, Site, Tap, Watcher, outputs_of
from secateurs.utils import Progress, device_of, evaluating, silent

Wanted = Mapping[Tap, Iterable[type[Statistic]]]
"""Which statistics are collected at which taps."""

Observations = Mapping[tuple[Tap, type[Statistic]], Any]
"""The statistic of that type at that tap."""


def observe(
    model: nn.Module,
    data: Iterable[Any],
    wanted: Wanted,
    progress: Progress = silent,
    description: str = "observing",
    observed: Observations | None = None,
) -> Observations:
    """Run the model once over the data and collect statistics.

    Args:
        model: the model that the taps are of; evaluated, not changed.
        data: see `secateurs.data.batches`; targets are not looked at. Of a shard, all ranks' count.
        wanted: what to collect where.
        progress: wraps the iteration over the data.
        description: what progress is shown as.
        observed: what there is already, and is not collected again. The model is not run if nothing is missing.

    Returns:
        One statistic per tap and type, those that there were among them.

    Raises:
        DataError: the data is empty, the model refuses a batch, or an activation is not finite; on all ranks, if it is
            so on one.
        UsageError: ranks hold different models.
    """
    observed = observed or {}
    missing = {tap: [its for its in types if (tap, its) not in observed] for tap, types in wanted.items()}
    missing = {tap: types for tap, types in missing.items() if types}
    if not missing:
        return observed
    check_same_weights(data, model)
    watcher = _Observer(model, missing)
    device = device_of(model)
    with errors_on_all_ranks(data), evaluating(model):
        for batch in progress(batches(data), description):
            watcher.see(batch.to(device))
    found = {
        (place.tap, type(its)): merge_statistics(data, its) for place in watcher.places for its in place.statistics
    }
    return {**observed, **found}


def memory(wanted: Wanted, samples: int) -> int:
    """The bytes that the statistics will take after so many samples of the size that the model was traced on."""
    total = 0
    for tap, types in wanted.items():
        total += sum(statistic.size(samples, tap.size, tap.positions) for statistic in types)
    return total


class _Place(NamedTuple):
    """One tap, with what is collected there."""

    tap: Tap
    statistics: Sequence[Statistic]


class _Sort(NamedTuple):
    """How rows were sorted by expert: which one each goes to, and the indices that the sort returned."""

    experts: Tensor
    order: Tensor


class _Observer(Watcher):
    """Hands what passes the taps to their statistics."""

    def __init__(self, model: nn.Module, wanted: Wanted):
        super().__init__(model)
        self.places = [_Place(tap, [make() for make in dict.fromkeys(types)]) for tap, types in wanted.items()]
        self._model = model
        self._frames: dict[Arguments, Frame] = {}
        self._inputs: dict[Site, list[_Place]] = defaultdict(list)
        self._outputs: dict[Site, list[_Place]] = defaultdict(list)
        self._sorts: dict[Site, _Sort | None] = {place.tap.order: None for place in self.places if place.tap.order}
        self._sorted: tuple[Tensor, Tensor] | None = None
        self._seeking = False
        self._latest: Tensor | None = None
        self._layout: tuple[Any, ...] = ()
        self._prepared: tuple[Tensor, Tensor | None] | None = None
        self._parts: dict[type[Statistic], Statistic] = {}
        self._reached: set[Tap] = set()
        for place in self.places:
            (self._outputs if place.tap.slot < 0 else self._inputs)[place.tap.site].append(place)

    def see(self, batch: Batch) -> None:
        """Run the model on one batch."""
        batch = replace(batch, call=add_decoder_inputs(self._model, batch.call))
        named = batch.call.named(self._model)
        taken = {place.tap.arguments for place in self.places}
        self._frames = {its: its.frame(named, batch.size) for its in taken}
        self._reached.clear()
        try:
            finite = all(torch.isfinite(t).all() for t in outputs_of(self._run(batch)))
        except DataError:
            raise
        except Exception as error:
            self._seek(batch)  # a statistic may have failed on what is not finite
            raise batch.refused(error) from error
        finally:
            self._latest, self._prepared, self._parts, self._sorted = None, None, {}, None
        if not finite:
            self._seek(batch)
        for place in self.places:
            if place.tap not in self._reached:
                raise DataError(
                    f"{place.tap.owner}: batch {batch.index} did not pass {place.tap.site}, where its units were "
                    "seen when the model was traced; trace it on inputs like these"
                )

    def _run(self, batch: Batch) -> Any:
        call = batch.call.copy()
        with self:
            return call.run(self._model)

    def _seek(self, batch: Batch) -> None:
        """Raise if an activation is not finite.  It would nearly always show in the outputs: only then is it sought."""
        self._seeking = True
        try:
            self._run(batch)
        except DataError:
            raise
        except Exception:  # the caller tells what the model itself has to say
            pass
        finally:
            self._seeking = False

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for place in self._inputs.get(site, ()):  # before the operator runs: it may write in place
            self._feed(place, args[place.tap.slot])
        out = func(*args, **kwargs)
        if site in self._sorts:
            self._sorts[site] = _Sort(args[0], out[1])
        for place in self._outputs.get(site, ()):
            self._feed(place, out[OUTPUT - place.tap.slot] if isinstance(out, (tuple, list)) else out)
        return out

    def _feed(self, place: _Place, x: Tensor) -> None:
        tap = place.tap
        if self._seeking:
            _need_finite(tap, x)
            return
        sort = self._sorts[tap.order] if tap.order else None
        x = x if sort is None else self._unsorted(x, tap, sort)
        try:
            seen = tap.read(x, self._frames[tap.arguments], sort and sort.experts)
        except ValueError as error:
            raise DataError(f"{tap.owner}: {tap.site} does not fit what was traced: {error}") from error
        self._reached.add(tap)
        units, lengths = self._prepare(x, seen, tap)
        for statistic in place.statistics:
            if statistic.shareable:
                statistic.add(self._once(type(statistic), units, lengths))
            else:
                statistic.update(units, lengths)

    def _unsorted(self, x: Tensor, tap: Tap, sort: _Sort) -> Tensor:
        """What is seen in the order of the samples; the same tensor for all experts, one after the other."""
        if self._sorted is None or self._sorted[0] is not x:
            self._sorted = x, tap.unsorted(x, sort.order)
        return self._sorted[1]

    def _prepare(self, x: Tensor, seen: ObservedUnits, tap: Tap) -> tuple[Tensor, Tensor | None]:
        """The units without padding; a place that sees the same tensor right after another gets the same ones."""
        view = seen.units.shape, seen.units.stride(), seen.units.storage_offset()
        layout = x._version, *view, seen.counted is None, tap.window, tap.expert
        if self._prepared is None or self._latest is not x or self._layout != layout:
            self._latest, self._layout, self._prepared, self._parts = x, layout, without_padding(seen), {}
        return self._prepared

    def _once(self, kind: type[Statistic], units: Tensor, lengths: Tensor | None) -> Statistic:
        """The statistic of one batch at one place, which is that of others that get the same units."""
        if kind not in self._parts:
            self._parts[kind] = kind.of(units, lengths)
        return self._parts[kind]


def _need_finite(tap: Tap, x: Tensor) -> None:
    if not torch.isfinite(x).all():
        raise DataError(
            f"{tap.owner}: the activations at {tap.site} are not finite (NaN or infinity); check the inputs and the "
            "weights"
        )
