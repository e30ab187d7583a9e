"""The interface between operator rules and the trace (`Flow`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from secateurs.structure import axis as ax
from secateurs.structure.axis import Axis, Var
from secateurs.structure.dispatch import Site
from secateurs.structure.records import OUTPUT, Consumption, SizeUse, Source
from secateurs.structure.tensor_table import TensorTable
from secateurs.structure.trace_record import TraceRecord
from secateurs.structure.window import Window


class Flow:
    """The first argument of every rule: one operator call, and the trace that it belongs to.

    A rule looks up the axes of tensors, unifies axes that must stay equal, freezes axes that must not lose indices,
    reports properties of the operator, and returns the axes of the result.

    Attributes:
        operator: the name of the operator, such as "aten::mm".
        attended: the origin of the values if the operator is an attention, otherwise None.
    """

    def __init__(
        self,
        record: TraceRecord,
        tensors: TensorTable,
        site: Site,
        operator: str,
        args: Sequence[Any],
        module: nn.Module | None,
    ):
        self.operator = operator
        self.attended: Source | None = None
        self._record, self._tensors = record, tensors
        self._site, self._args, self._module = site, args, module

    def axes(self, tensor: Tensor) -> tuple[Axis, ...]:
        """The axes of a tensor, one per dimension."""
        return self._tensors.info(tensor).axes

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether the tensor depends on parameters and buffers only, and not on the inputs of the model."""
        return self._tensors.info(tensor).constant

    def freeze(self, axes: Axis | Sequence[Axis], reason: str) -> None:
        """Forbid the removal of indices of one or more axes; an earlier reason is kept."""
        for axis in axes if isinstance(axes, Sequence) else (axes,):
            ax.freeze(axis, reason)

    def contract(
        self, x: Tensor, dim: int, other: Tensor, axis: Axis, home: Axis | None = None, window: Window | None = None
    ) -> None:
        """Report that the operator sums over dimension `dim` of `x` and an axis of `other`.

        Args:
            x: an argument of the operator.
            dim: the dimension of `x` that the operator sums over.
            other: the tensor that `x` is multiplied with, usually a weight.
            axis: the axis of `other` that the operator sums over, already unified with the axis of `x`.
            home: the axis of a whole dimension of `other`, if `axis` is only a part of it.
            window: the geometry of the kernel, for convolutions.
        """
        info, home = self._tensors.info(x), axis if home is None else home
        weight = None
        if self.is_constant(other) and isinstance(home, Var):
            weight = self._tensors.members.get(home)
        if weight is not None:
            self._record.contracted.add(weight)
        if not info.constant:
            operand = Source(self._site, next(i for i, arg in enumerate(self._args) if arg is x), info.axes)
            self._record.consumptions.append(Consumption(axis, operand, dim, info.provenance, weight, window))

    def produce(self, *axes: Axis) -> None:
        """Report that the operator computes its first result, with these axes, from a weight."""
        self._record.produced.append(Source(self._site, OUTPUT, axes))

    def add_macs(self, *axes: Axis) -> None:
        """Report a number of multiply-accumulate operations (MACs): the product of the sizes of `axes`.

        The MACs count only if torch has a formula for the operator, built in or registered with
        `torch.utils.flop_counter.register_flop_formula`, so that predicted and measured costs agree.
        """
        self._record.macs.append(axes)

    def attend(self, values: Tensor) -> None:
        """Report that the operator is an attention over these values."""
        self.attended = self._tensors.info(values).provenance.origin

    def mark_heads(self, *axes: Axis) -> None:
        """Report the axes of the heads of an attention."""
        self._record.heads += axes

    def mark_head_dims(self, *axes: Axis) -> None:
        """Report the axes of the vectors inside the heads of an attention."""
        self._record.head_dims += axes

    def mark_repeated(self, axis: Axis) -> None:
        """Report an axis of repetitions; it is frozen unless it is a whole dimension of a parameter."""
        self._record.repeated.append(axis)

    def mark_experts(self, axis: Axis) -> None:
        """Report an axis of experts: sub-networks that a router sends rows to."""
        self._record.experts.append(axis)

    def mark_multiple(self, axis: Axis, number: int) -> None:
        """Report that the size of `axis` must stay a multiple of `number`."""
        self._record.multiples.append((axis, number))

    def mark_table(self, table: Tensor) -> None:
        """Report that the operator looks up rows of `table`."""
        if (name := self._tensors.info(table).name) is not None:
            self._record.tables.add(name)

    def mark_indices(self, tensor: Tensor, axis: Axis, least: int) -> None:
        """Report that the values of `tensor` are indices of `axis`, and that `least` different indices are needed."""
        self._tensors.set_indexed(tensor, axis)
        self._record.minimums.append((axis, least))

    def indexes_axis(self, tensor: Tensor) -> Axis | None:
        """The axis that the values of `tensor` are indices of, or None if unknown."""
        return self._tensors.indexes_axis(tensor)

    def sized(self, axis: Axis, name: str | None = None, weight: Tensor | None = None) -> None:
        """Report that modules may store the size of `axis` in an attribute.

        Args:
            axis: the axis.
            name: the name of the attribute; None means any attribute with the value of the size.
            weight: a parameter, or a tensor derived from one. The module of the parameter may store the size, in
                addition to the running module.
        """
        members = self._tensors.members
        owners = [members[a] for a in self.axes(weight) if a in members] if weight is not None else []
        modules = {self._site.module, *(tensor.rpartition(".")[0] for tensor, _ in owners)}
        self._record.sizes.extend(SizeUse(module, name, axis) for module in sorted(modules))

    def sized_together(self, parts: Sequence[Axis]) -> None:
        """Report that the running module gave the sizes of several parts at once, so one attribute may store them."""
        self._record.splits.append((self._site.module, tuple(parts)))

    def holds(self, size: int) -> bool:
        """Whether the running module has an integer attribute with this value."""
        return any(type(value) is int and value == size for value in vars(self._module).values())
