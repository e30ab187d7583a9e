"""`Flow`: what an operator rule may ask and say while axes flow through one operator."""

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
    """The first argument of every rule: one operator that runs, and the trace that it is part of.

    A rule looks up the axes of tensors, unifies those that must stay equal, freezes those that may not lose an index,
    reports what the operator does, and returns the axes of the result.

    Attributes:
        operator: the name of the operator, such as "aten::mm".
        attended: where the values of an attention come from, if the operator is one.
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
        """Whether the tensor depends on parameters and buffers only, not on the model's inputs."""
        return self._tensors.info(tensor).constant

    def freeze(self, axes: Axis | Sequence[Axis], reason: str) -> None:
        """Forbid removal along one or more axes."""
        for axis in axes if isinstance(axes, Sequence) else (axes,):
            ax.freeze(axis, reason)

    def contract(
        self, x: Tensor, dim: int, other: Tensor, axis: Axis, home: Axis | None = None, window: Window | None = None
    ) -> None:
        """Report that the operator sums over dimension `dim` of `x` and an axis of `other`.

        Args:
            x: an argument of the operator.
            dim: the dimension of `x` that is summed over.
            other: the tensor that `x` is multiplied with, usually a weight.
            axis: what is summed over, already unified with the axis of `x`.
            home: the axis of `other` that `axis` is a part of, if it is not the whole of it.
            window: what a convolution's kernel looks at.
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
        """Report that the operator makes its first result, with these axes, out of weights."""
        self._record.produced.append(Source(self._site, OUTPUT, axes))

    def add_macs(self, *axes: Axis) -> None:
        """Report multiply-accumulate operations (MACs): as many as the product of the sizes of `axes`.

        They count if torch counts the operator too, by its own formula or by one that
        `torch.utils.flop_counter.register_flop_formula` registered, so that predicted and measured costs agree.
        """
        self._record.macs.append(axes)

    def attend(self, values: Tensor) -> None:
        """Report that the operator is an attention to these values."""
        self.attended = self._tensors.info(values).provenance.origin

    def mark_heads(self, *axes: Axis) -> None:
        """Report axes over which an attention runs in parallel."""
        self._record.heads += axes

    def mark_head_dims(self, *axes: Axis) -> None:
        """Report axes of the vectors of an attention's heads."""
        self._record.head_dims += axes

    def mark_repeated(self, axis: Axis) -> None:
        """Report an axis that counts repetitions; it stays whole unless it is a whole dimension of a parameter."""
        self._record.repeated.append(axis)

    def mark_experts(self, axis: Axis) -> None:
        """Report an axis of experts: sub-networks that each run on the rows that a router sends to them."""
        self._record.experts.append(axis)

    def mark_multiple(self, axis: Axis, number: int) -> None:
        """Report that the size of `axis` must stay a multiple of `number`."""
        self._record.multiples.append((axis, number))

    def mark_table(self, table: Tensor) -> None:
        """Report that rows of `table` are looked up."""
        if (name := self._tensors.info(table).name) is not None:
            self._record.tables.add(name)

    def mark_indices(self, tensor: Tensor, axis: Axis, least: int) -> None:
        """Report that the values of `tensor` are indices of `axis`, `least` different ones at once."""
        self._tensors.set_indexed(tensor, axis)
        self._record.minimums.append((axis, least))

    def indexes_axis(self, tensor: Tensor) -> Axis | None:
        """The axis that the values of `tensor` are indices of, if that is known."""
        return self._tensors.indexes_axis(tensor)

    def sized(self, axis: Axis, name: str | None = None, weight: Tensor | None = None) -> None:
        """Report that modules may hold the size of `axis` in an attribute.

        Args:
            axis: the axis.
            name: the attribute; None for any attribute whose value equals the size.
            weight: a parameter (or a tensor made from it) whose module may hold the size, beside the running module.
        """
        members = self._tensors.members
        owners = [members[a] for a in self.axes(weight) if a in members] if weight is not None else []
        modules = {self._site.module, *(tensor.rpartition(".")[0] for tensor, _ in owners)}
        self._record.sizes.extend(SizeUse(module, name, axis) for module in sorted(modules))

    def sized_together(self, parts: Sequence[Axis]) -> None:
        """Report that the running module named the sizes of all these parts at once; one attribute may hold them."""
        self._record.splits.append((self._site.module, tuple(parts)))

    def holds(self, size: int) -> bool:
        """Whether the running module has an integer attribute of that value."""
        return any(type(value) is int and value == size for value in vars(self._module).values())
