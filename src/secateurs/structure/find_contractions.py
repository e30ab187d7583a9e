"""Find the contractions of a trace: the operator calls that multiply weights with observable data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from secateurs.structure.axis import Axis
from secateurs.structure.contraction import Contraction
from secateurs.structure.records import Consumption, Source
from secateurs.structure.resolved_trace import ResolvedTrace
from secateurs.structure.taps import Tap


def find_contractions(trace: ResolvedTrace) -> Iterable[Contraction]:
    """Find the contractions of linear layers, convolutions and experts, in the order in which the model runs."""
    for use in trace.record.consumptions:
        if use.weight is not None:
            yield from _contractions_of(trace, use, *use.weight)


def _contractions_of(trace: ResolvedTrace, use: Consumption, weight: str, dim: int) -> Iterable[Contraction]:
    """The contraction of one sum, or one contraction for each expert if the weight is a stack of matrices."""
    source, axes, weight_axes = use.operand, trace.resolved(use.operand.axes), trace.axes[weight]
    convolution = source.site.operator.startswith("aten::convolution")
    order = trace.sorted_at(source.site)
    stacked = len(weight_axes) == 3 and order is not None and weight_axes[0] in trace.experts
    if not trace.holds_samples(axes) or not (convolution or stacked or len(weight_axes) == 2):
        return
    blocks = axes[use.dim].size // weight_axes[dim].size
    if convolution and dim == 0:  # transposed: the weight's first dimension holds the inputs of all groups
        blocks = trace.record.results[source.site][0][1].size // weight_axes[1].size
    tap = Tap(f"weight {weight!r}", source.site, source.slot, use.dim, axes, None, trace.arguments, order=order)
    arrival = None if stacked else _arrival(trace, weight_axes[1 - dim], tap)
    contraction = Contraction(weight, dim, tap, axes[use.dim], blocks, convolution, use.window, arrival=arrival)
    if not stacked:
        yield contraction
        return
    for expert in range(weight_axes[0].size):
        yield replace(contraction, operand=replace(tap, expert=expert), expert=expert)


def _arrival(trace: ResolvedTrace, outputs: Axis, operand: Tap) -> tuple[Tap, Tap] | None:
    """The taps where the outputs of a layer meet other data, and of the sum; see `Contraction.arrival`."""
    if operand.site not in trace.record.arrivals:
        return None
    part, whole = trace.record.arrivals[operand.site]
    taps: dict[Source, Tap] = {}
    for source in dict.fromkeys((part, whole)):
        axes = trace.resolved(source.axes)
        if outputs not in axes or not trace.holds_samples(axes):
            return None
        dim, order = axes.index(outputs), trace.sorted_at(source.site)
        taps[source] = replace(operand, site=source.site, slot=source.slot, dim=dim, axes=axes, order=order)
    return taps[part], taps[whole]
