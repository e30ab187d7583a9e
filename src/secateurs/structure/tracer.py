"""The tracer: axes flow through the operators of one forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from secateurs.structure import axis as ax
from secateurs.structure.axis import Axis
from secateurs.structure.cost import macs_of
from secateurs.structure.dispatch import Site
from secateurs.structure.flow import Flow
from secateurs.structure.provenance import arriving, order_of, passing
from secateurs.structure.records import NOTHING, OUTPUT, Passed, Seen, Source
from secateurs.structure.rules import MOVES, RULES, name_of
from secateurs.structure.tensors import tensors_in


class Tracer(Flow):
    """Lets axes flow through one forward pass by the rules of the operators that run."""

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator and let the axes of its inputs flow to its outputs."""
        out = self.values.run(func, args, kwargs) if self._abstract else func(*args, **kwargs)
        self._site, self._args = site, args
        self.counted_macs += macs_of(func, args, kwargs, out)
        inputs = tensors_in(args, kwargs)
        outputs = tensors_in(out)
        seen = [self._look(tensor) for tensor in inputs]
        axes = self._apply_rule(func, args, kwargs, inputs, outputs)
        for layer, arrival in arriving(self.operator, site, args, self._look, axes):
            self.arrivals.setdefault(layer, arrival)
        passed, order = self._passed(func, seen, axes), order_of(self.operator, site, inputs, seen, self.pointed)
        # Which expert a router chooses does not make data of that expert's weights.
        constant = all(s.constant or self.pointed(t) is not None for t, s in zip(inputs, seen, strict=True))
        for number, (tensor, its_axes) in enumerate(zip(outputs, axes, strict=True)):
            old = self._seen.get(tensor)  # written in place
            if number:
                passed = passed._replace(made=Source(site, OUTPUT - number, its_axes))
            self._seen[tensor] = Seen(its_axes, constant, passed, old and old.name, order)
            if old is not None and self._pointed:  # its values are others now
                self._pointed.pop(tensor, None)
        if self.operator in MOVES and inputs and (chosen := self.pointed(inputs[0])) is not None:
            self._pointed[outputs[0]] = chosen
        self.results[site] = axes
        if order is not None:
            self.orders[site] = order
        self._args, self._attended = (), None
        return out

    def _apply_rule(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: list[Tensor],
        outputs: list[Tensor],
    ) -> list[tuple[Axis, ...]]:
        name = self.operator = name_of(func)
        rule = RULES.get(name) or (RULES["pointwise"] if torch.Tag.pointwise in func.tags else None)
        reason = f"no rule for operator {name}" if inputs else f"its size is set where {name} makes it"
        if rule is not None and outputs and outputs[0].numel():
            try:
                result = rule(self, outputs if len(outputs) > 1 else outputs[0], *args, **kwargs)
            except Exception as error:  # a rule may be a user's; the model itself has run
                result, reason = [], f"the rule for operator {name} failed: {error}"
            else:
                reason = f"the rule for operator {name} does not cover this use of it"
            axes = [tuple(its) for its in (result if isinstance(result, list) else [result])]
            if [[a.size for a in its] for its in axes] == [list(tensor.shape) for tensor in outputs]:
                return axes
        for tensor in inputs:
            self.freeze(self.axes(tensor), reason)
        return [tuple(ax.new(size, reason) for size in tensor.shape) for tensor in outputs]

    def _passed(self, func: Any, seen: list[Seen], axes: list[tuple[Axis, ...]]) -> Passed:
        """What the first output has passed; one made of weights here, nothing yet."""
        moving = [(its.axes, its.passed) for its in seen if not its.constant]
        if not moving or not axes:
            return NOTHING
        passed = passing(func, self._site, moving, axes[0])
        made_here = self.produced and self.produced[-1].site == self._site
        if made_here or self._attended:
            return Passed(made=passed.made, attended=self._attended, layer=self._site if made_here else None)
        if passed.activation and passed.activation.after.site == self._site:
            parts = [its.activation for _, its in moving] if len(moving) > 1 else []
            self.activations = [*(its for its in self.activations if its not in parts), passed.activation]
        return passed
