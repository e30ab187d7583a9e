"""The shape check: run a cut model and list all places where a size differs from the prediction of the structure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from traceback import walk_tb
from typing import Any, NamedTuple

from torch import Tensor, nn

from secateurs.structure import COPY, ShapeChange, Site, Structure, Watcher, shape_changes, tensors_in


class ShapeMismatch(NamedTuple):
    """An operator that fails or returns a wrong size.

    Attributes:
        module: the name of the module that runs the operator.
        groups: the names of the cut groups that change the sizes of the operator.
        reason: a description of the failure.
    """

    module: str
    groups: tuple[str, ...]
    reason: str


class ShapeCheck(Watcher):
    """Watches one run of a cut model and compares the sizes of intermediate tensors with the structure's predictions.

    If an operator fails or returns a wrong size, zeros of the predicted size replace the result, so that one run finds
    all mismatches. Only dimensions that the cut changes are compared, because other sizes may depend on data.

    Args:
        model: the cut model.
        dense: the dense model.
        structure: of the dense model.
        widths: group name to number of units, for the cut groups.

    Attributes:
        mismatches: all mismatches, in the order of the run.
    """

    def __init__(self, model: nn.Module, dense: nn.Module, structure: Structure, widths: Mapping[str, int]):
        super().__init__(model)
        self.mismatches: list[ShapeMismatch] = []
        self._model = model
        self._entered: set[str] = set()
        self._unfinished: set[str] = set()
        self._operators: Counter[str] = Counter()
        self._members = {name: structure.group(name).members for name in widths}
        adapted = {
            name for name, module in model.named_modules() if type(module) is not type(dense.get_submodule(name))
        }
        changes = shape_changes(structure, widths).items()
        self._changes = {
            site: change for site, change in changes if site.module not in adapted and site.operator != COPY
        }
        self._unused = {
            id(p): name
            for name, p in model.named_parameters()
            if name in structure.used and any(p.shape[d] != axis.size for d, axis in enumerate(structure.axes[name]))
        }

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator and check the sizes of the result."""
        self._operators[site.module] += 1
        inputs = tensors_in(args, kwargs)
        for tensor in inputs:
            self._unused.pop(id(tensor), None)
        change = self._changes.get(site)
        try:
            out = func(*args, **kwargs)
        except Exception as error:
            if change is None:
                raise
            self.mismatches.append(ShapeMismatch(site.module, change.groups, failure(error)))
            return _zeros(inputs, change)
        if change is None:
            return out
        outputs = tensors_in(out)
        for number, dim in change.dims:
            shape = list(outputs[number].shape) if number < len(outputs) else []
            if dim >= len(shape) or shape[dim] != change.shapes[number][dim]:
                reason = f"{site} returns shape {shape}, but dimension {dim} must be {change.shapes[number][dim]}"
                self.mismatches.append(ShapeMismatch(site.module, change.groups, reason))
                return _zeros(outputs or inputs, change)
        return out

    def stopped(self, error: Exception) -> None:
        """Record that an exception ended the run, for the innermost module whose code raised it.

        Modules of the same class that did not finish run the same code, so they are recorded as well.
        """
        frames = reversed([frame for frame, _ in walk_tb(error.__traceback__)])
        owners = (self._names.get(id(frame.f_locals.get("self"))) for frame in frames)
        owner, reason = next((name for name in owners if name is not None), ""), failure(error)
        self._unfinished = {owner, *(set(self._names.values()) - self._entered)}
        self._stopped_in(owner, reason)
        modules = dict(self._model.named_modules())
        for name, module in modules.items():
            if type(module) is type(modules[owner]) and name in self._unfinished - {owner}:
                self._stopped_in(name, f"{reason} (in {owner}, of the same class)")

    def _stopped_in(self, module: str, reason: str) -> None:
        """Record a failure of a module, with all cut groups that have tensors in the module."""
        groups = [
            name
            for name, members in self._members.items()
            if module and any(member.tensor.startswith(f"{module}.") for member in members)
        ]
        self.mismatches.append(ShapeMismatch(module, tuple(groups), reason))

    def severity(self, module: str) -> tuple[bool, int, int]:
        """Measure the failures in a module, to compare two runs; tuples compare in order, and less is better.

        Returns:
            Whether the run ended before the end of the module; minus the number of operators of the module that ran if
            so, otherwise 0; and the number of mismatches in the module.
        """
        ended = module in self._unfinished
        count = sum(mismatch.module == module for mismatch in self.mismatches)
        return ended, -self._operators[module] if ended else 0, count

    def finished(self) -> None:
        """Record a parameter of the cut model that was not used in a complete run."""
        for name in list(self._unused.values())[:1]:
            reason = f"the cut copy does not use its own {name}, so it may use the parameter of the dense model"
            self.mismatches.append(ShapeMismatch("", (), reason))

    def _enter_module(self, module: nn.Module, args: Any) -> None:
        super()._enter_module(module, args)
        self._entered.add(self._stack[-1])


def _zeros(like: Sequence[Tensor], change: ShapeChange) -> Any:
    """Zeros of the predicted shapes, which replace the result of an operator."""
    zeros = [like[min(number, len(like) - 1)].new_zeros(shape) for number, shape in enumerate(change.shapes)]
    return zeros if len(zeros) > 1 else zeros[0]


def failure(error: Any) -> str:
    """Describe an exception in one line."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
