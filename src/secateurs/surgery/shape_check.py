"""The shape check: run a cut model, and list every place where a size is not the one that the structure predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from traceback import walk_tb
from typing import Any, NamedTuple

from torch import Tensor, nn

from secateurs.structure import COPY, ShapeChange, Site, Structure, Watcher, shape_changes, tensors_in


class ShapeMismatch(NamedTuple):
    """An operator that fails in `module` or returns a wrong size, and the groups that are cut there."""

    module: str
    groups: tuple[str, ...]
    reason: str


class ShapeCheck(Watcher):
    """Watches one run of a cut model and compares the sizes of intermediate tensors with the structure's predictions.

    If an operator fails or returns a wrong size, zeros of the right size replace its result, so that one run finds all
    mismatches. Only dimensions that the cut changes are compared; sizes that depend on data may differ.

    Attributes:
        mismatches: in the order of the run.
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
                reason = f"{site} gives shape {shape} where dimension {dim} must be {change.shapes[number][dim]}"
                self.mismatches.append(ShapeMismatch(site.module, change.groups, reason))
                return _zeros(outputs or inputs, change)
        return out

    def stopped(self, error: Exception) -> None:
        """Record that an exception ended the run, in the innermost module whose own code raised it.

        Later modules of the same class run the same code, so they are recorded as well.
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
        groups = [
            name
            for name, members in self._members.items()
            if module and any(member.tensor.startswith(f"{module}.") for member in members)
        ]
        self.mismatches.append(ShapeMismatch(module, tuple(groups), reason))

    def severity(self, module: str) -> tuple[bool, int, int]:
        """Rank the failures in a module against those of another run; smaller is better.

        Returns:
            Whether the run ended before the module was finished; if it did, minus the number of operators that the
            module ran, else 0; and the number of mismatches in the module.
        """
        ended = module in self._unfinished
        count = sum(mismatch.module == module for mismatch in self.mismatches)
        return ended, -self._operators[module] if ended else 0, count

    def finished(self) -> None:
        """After a complete run, record a parameter of the cut model that was not used."""
        for name in list(self._unused.values())[:1]:
            self.mismatches.append(ShapeMismatch("", (), f"the copy of the model does not use its own {name}"))

    def _enter_module(self, module: nn.Module, args: Any) -> None:
        super()._enter_module(module, args)
        self._entered.add(self._stack[-1])


def _zeros(like: Sequence[Tensor], change: ShapeChange) -> Any:
    """Zeros of the predicted shapes, in the place of an operator's result."""
    made = [like[min(number, len(like) - 1)].new_zeros(shape) for number, shape in enumerate(change.shapes)]
    return made if len(made) > 1 else made[0]


def failure(error: Any) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
