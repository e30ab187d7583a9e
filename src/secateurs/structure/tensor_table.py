"""The table of all tensors of a trace, with the axes and the provenance of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from secateurs.structure import axis as ax
from secateurs.structure.axis import Axis, Var
from secateurs.structure.dispatch import Site
from secateurs.structure.records import NO_PROVENANCE, Provenance
from secateurs.structure.trace_record import TraceRecord
from secateurs.utils import named_tensors

CONSTANT = "a tensor that is not derived from an input, a parameter or a buffer"


@dataclass
class TensorInfo:
    """Information about one tensor.

    Attributes:
        axes: one axis per dimension.
        constant: whether the tensor depends on parameters and buffers only.
        provenance: the operators in the path of the units.
        name: the first name of a parameter or buffer; None for other tensors.
        sorted_at: the sort that put the rows into the order of experts; None if they are not sorted.
    """

    axes: tuple[Axis, ...]
    constant: bool
    provenance: Provenance = NO_PROVENANCE
    name: str | None = None
    sorted_at: Site | None = None


class TensorTable:
    """Information about each tensor, by identity. Entries of deleted tensors are removed.

    Attributes:
        members: the axis of a dimension of a parameter or buffer to (name, dimension).
    """

    def __init__(self, model: nn.Module, record: TraceRecord):
        self.members: dict[Axis, tuple[str, int]] = {}
        self._infos: Any = WeakTensorKeyDictionary()
        self._indexed: Any = WeakTensorKeyDictionary()
        self._record = record
        for name, tensor in named_tensors(model):
            self._register(name, tensor)

    def info(self, tensor: Tensor) -> TensorInfo:
        """Look up a tensor; an unknown tensor is added as a constant with frozen axes."""
        info = self._infos.get(tensor)
        if info is None:
            axes = tuple(ax.new(size, CONSTANT) for size in tensor.shape)
            info = self._infos[tensor] = TensorInfo(axes, constant=True)
        if info.name is not None:
            self._record.used.setdefault(info.name)
        return info

    def set_result(self, tensor: Tensor, info: TensorInfo) -> None:
        """Store the information about a result; if the tensor is known, the operator wrote to it in place."""
        old = self._infos.get(tensor)
        if old is not None:
            info.name = old.name
            self._indexed.pop(tensor, None)
        self._infos[tensor] = info

    def add_input(self, tensor: Tensor, reason: str) -> None:
        """Add an input of the model and freeze its axes."""
        new = TensorInfo(tuple(ax.new(size, reason) for size in tensor.shape), constant=False)
        for axis in self._infos.setdefault(tensor, new).axes:
            ax.freeze(axis, reason)

    def indexes_axis(self, tensor: Tensor) -> Axis | None:
        """The axis that the values of `tensor` are indices of, or None if unknown."""
        return self._indexed.get(tensor) if self._indexed else None

    def set_indexed(self, tensor: Tensor, axis: Axis) -> None:
        """Store that the values of `tensor` are indices of `axis`."""
        self._indexed[tensor] = axis

    def _register(self, name: str, tensor: Tensor) -> None:
        """Add a parameter or buffer, with new axes unless it is shared and known already."""
        if tensor not in self._infos:
            reason = None if tensor.is_floating_point() or tensor.is_complex() else "integer or boolean buffer"
            axes = tuple(ax.new(size, reason) for size in tensor.shape)
            self._infos[tensor] = TensorInfo(axes, constant=True, name=name)
            self.members.update({axis: (name, dim) for dim, axis in enumerate(axes) if isinstance(axis, Var)})
        self._record.tensor_axes[name] = self._infos[tensor].axes
        self._record.first_names[name] = self._infos[tensor].name
