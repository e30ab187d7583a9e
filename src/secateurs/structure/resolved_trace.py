"""A finished trace: the record together with the final form of every axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from secateurs.structure.arguments import Arguments
from secateurs.structure.axis import Axis, Product, Var, leaves, resolver
from secateurs.structure.dispatch import Site
from secateurs.structure.records import Source
from secateurs.structure.taps import Tap
from secateurs.structure.trace_record import TraceRecord

Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class ResolvedTrace:
    """A record with resolved axes, from which groups, taps and contractions are derived.

    Attributes:
        record: the record of the trace.
        resolve: maps an axis to its final form.
        axes: name to the resolved axes of each parameter and buffer.
        arguments: the resolved axes of the arguments of the model.
        experts: the variables of experts.
    """

    record: TraceRecord
    resolve: Callable[[Axis], Axis]
    axes: Mapping[str, Axes]
    arguments: Arguments
    experts: frozenset[Var]

    def resolved(self, axes: Iterable[Axis]) -> Axes:
        """Resolve several axes."""
        return tuple(map(self.resolve, axes))

    def holds_samples(self, axes: Sequence[Axis]) -> bool:
        """Whether one of these resolved axes contains the samples of the batch."""
        batch = self.arguments.batch
        return batch is None or any(batch in (axis.factors if isinstance(axis, Product) else (axis,)) for axis in axes)

    def sorted_at(self, site: Site) -> Site | None:
        """The sort that put the rows of an operator's results into the order of experts, or None."""
        return self.record.sorted_at.get(site)

    def tap(self, source: Source, var: Var, owner: str) -> Tap | None:
        """Create the tap of `var` in a tensor; None if the tensor does not contain `var` and the samples.

        Args:
            source: the tensor.
            var: the variable of the units.
            owner: the group or weight that the tap belongs to, for messages.
        """
        axes = self.resolved(source.axes)
        dim = next((dim for dim, axis in enumerate(axes) if var in leaves(axis)), None)
        if dim is None or not self.holds_samples(axes):
            return None
        order = self.sorted_at(source.site)
        return Tap(owner, source.site, source.slot, dim, axes, var, self.arguments, order=order)


def resolve_trace(record: TraceRecord) -> ResolvedTrace:
    """Resolve all axes of a finished trace."""
    resolve = resolver()

    def resolved(named: Mapping[str, Axes]) -> dict[str, Axes]:
        return {name: tuple(map(resolve, axes)) for name, axes in named.items()}

    batch = resolve(record.batch)
    arguments = Arguments(resolved(record.inputs), batch if isinstance(batch, Var) else None)
    experts = frozenset(var for axis in record.experts for var in leaves(axis))
    return ResolvedTrace(record, resolve, resolved(record.tensor_axes), arguments, experts)
