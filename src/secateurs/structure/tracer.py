"""The tracer: run every operator of one forward pass, and derive the axes of its results by the operator's rule."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from secateurs.structure import axis as ax
from secateurs.structure.axis import Axis
from secateurs.structure.cost import macs_of
from secateurs.structure.dispatch import Site, Watcher
from secateurs.structure.flow import Flow
from secateurs.structure.provenance import arrivals_at, provenance_of, sort_of
from secateurs.structure.records import NO_PROVENANCE, OUTPUT, Provenance, Source
from secateurs.structure.rules import OperatorRule, operator_name, rule_of
from secateurs.structure.tensor_table import TensorInfo, TensorTable
from secateurs.structure.tensors import tensors_in
from secateurs.structure.trace_record import TraceRecord
from secateurs.structure.unify import unify
from secateurs.structure.values import Values
from secateurs.utils import device_of

INPUT = "model input"


class Tracer(Watcher):
    """A context around one forward pass that follows axes through all operators.

    Args:
        model: the model to trace.

    Attributes:
        record: the findings so far.
        tensors: information about each tensor.
        values: known values of tensors on the meta device.
    """

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.record = TraceRecord()
        self.tensors = TensorTable(model, self.record)
        self.values = Values()
        self._on_meta = device_of(model).type == "meta"

    def add_inputs(self, inputs: Sequence[Tensor], samples: int) -> None:
        """Add the inputs of the model and freeze their axes.

        First dimensions of size `samples` are assumed to hold the samples.
        """
        for tensor in inputs:
            self.tensors.add_input(tensor, INPUT)
        self.record.batch = ax.new(samples, INPUT)
        for tensor in inputs:
            if tensor.ndim and len(tensor) == samples:
                unify(self.tensors.info(tensor).axes[0], self.record.batch)

    def _enter_module(self, module: nn.Module, args: Any) -> None:
        super()._enter_module(module, args)
        self._pass_on(args)

    def _leave_module(self, module: nn.Module, args: Any, output: Any) -> None:
        super()._leave_module(module, args, output)
        self._pass_on(output)

    def _pass_on(self, tensors: Any) -> None:
        """Record the axes of the tensors that the code of the running module gets from elsewhere."""
        axes = [self.tensors.info(tensor).axes for tensor in tensors_in(tensors)]
        self.record.passed_on.setdefault(self._stack[-1], []).extend(axes)

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator, and derive the axes and the provenance of the results."""
        out = self.values.run(func, args, kwargs) if self._on_meta else func(*args, **kwargs)
        inputs, outputs = tensors_in(args, kwargs), tensors_in(out)
        infos = [self.tensors.info(tensor) for tensor in inputs]
        rule = rule_of(func)
        flow = Flow(self.record, self.tensors, site, operator_name(func), args, self._modules.get(site.module))
        reported = len(self.record.macs)
        axes = self._apply(rule, flow, args, kwargs, inputs, outputs)
        self._count_macs(reported, func, args, kwargs, out)
        for layer, arrival in arrivals_at(func, site, args, self.tensors.info, axes):
            self.record.arrivals.setdefault(layer, arrival)
        provenance = self._provenance(flow, func, site, infos, axes)
        sorted_at = sort_of(func, site, inputs, infos, flow.indexes_axis)
        # Indices of chosen experts depend on data, but a weight that they select is still constant.
        constant = all(
            info.constant or flow.indexes_axis(tensor) is not None for tensor, info in zip(inputs, infos, strict=True)
        )
        for number, (tensor, tensor_axes) in enumerate(zip(outputs, axes, strict=True)):
            if number:
                provenance = provenance._replace(origin=Source(site, OUTPUT - number, tensor_axes))
            info = TensorInfo(tensor_axes, constant, provenance, sorted_at=sorted_at)
            self.tensors.set_result(tensor, info)
        if rule.moves_values and inputs and (indexed := flow.indexes_axis(inputs[0])) is not None:
            self.tensors.set_indexed(outputs[0], indexed)
        self.record.results[site] = axes
        if sorted_at is not None:
            self.record.sorted_at[site] = sorted_at
        return out

    def _apply(
        self,
        rule: OperatorRule,
        flow: Flow,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: list[Tensor],
        outputs: list[Tensor],
    ) -> list[tuple[Axis, ...]]:
        """Derive the axes of the results by the rule; if this is impossible, freeze all axes with the reason."""
        name = flow.operator
        reason = f"no rule for operator {name}" if inputs else f"the code sets the size in a call of {name}"
        if rule.function is not None and outputs and outputs[0].numel():
            try:
                result = rule.function(flow, outputs if len(outputs) > 1 else outputs[0], *args, **kwargs)
            except Exception as error:  # rules of users may raise anything
                result, reason = [], f"the rule for operator {name} failed: {error}"
            else:
                reason = f"the rule for operator {name} does not cover this call"
            results = [tuple(axes) for axes in (result if isinstance(result, list) else [result])]
            if [[axis.size for axis in axes] for axes in results] == [list(tensor.shape) for tensor in outputs]:
                return results
        for tensor in inputs:
            flow.freeze(flow.axes(tensor), reason)
        return [tuple(ax.new(size, reason) for size in tensor.shape) for tensor in outputs]

    def _count_macs(self, reported: int, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Add the MACs by torch's formula that the rule did not report to `other_macs`."""
        count = macs_of(func, args, kwargs, out)
        if count is None:  # `sc.cost` cannot count this operator either
            del self.record.macs[reported:]
        else:
            self.record.other_macs += count - sum(prod(a.size for a in axes) for axes in self.record.macs[reported:])

    def _provenance(
        self, flow: Flow, func: Any, site: Site, infos: Sequence[TensorInfo], axes: Sequence[tuple[Axis, ...]]
    ) -> Provenance:
        """Determine the provenance of the first result; it starts anew if the operator multiplies with a weight."""
        record = self.record
        moving = [(info.axes, info.provenance) for info in infos if not info.constant]
        if not moving or not axes:
            return NO_PROVENANCE
        provenance = provenance_of(func, site, moving, axes[0])
        made_here = bool(record.produced) and record.produced[-1].site == site
        if made_here or flow.attended:
            layer = site if made_here else None
            return Provenance(origin=provenance.origin, attended=flow.attended, layer=layer)
        if provenance.activation and provenance.activation.after.site == site:
            # A non-linearity composed of several operators replaces the activations that it is composed of.
            parts = [passed.activation for _, passed in moving] if len(moving) > 1 else []
            record.activations = [*(a for a in record.activations if a not in parts), provenance.activation]
        return provenance
