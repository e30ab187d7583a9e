"""Survey: run a cut model and find every place where a size is not the one that the structure foretells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from traceback import walk_tb
from typing import Any, NamedTuple

from torch import Tensor, nn

from secateurs.structure import COPY, Change, Site, Structure, Watcher, tensors_in


class Fault(NamedTuple):
    """Something that went wrong in `module`, and the groups that are cut there."""

    module: str
    groups: tuple[str, ...]
    why: str


class Survey(Watcher):
    """Watches a cut model: do the tensors on the way have the sizes that the structure foretells?

    Where an operator fails or returns another size, zeros of the right one take the place of its result: so one run
    finds all such places.  Only dimensions that the cut changes are looked at; sizes that depend on data may differ.

    Attributes:
        faults: what went wrong, in the order of the run.
    """

    def __init__(self, model: nn.Module, dense: nn.Module, structure: Structure, widths: Mapping[str, int]):
        super().__init__(model)
        self.faults: list[Fault] = []
        self._model = model
        self._entered: set[str] = set()
        self._unfinished: set[str] = set()
        self._operators: Counter[str] = Counter()
        self._inside = {name: structure.group(name).members for name in widths}
        adapted = {
            name for name, module in model.named_modules() if type(module) is not type(dense.get_submodule(name))
        }
        changes = structure.changes(widths).items()
        self._changes = {
            site: change for site, change in changes if site.module not in adapted and site.operator != COPY
        }
        self._unused = {
            id(p): name
            for name, p in model.named_parameters()
            if name in structure.used and any(p.shape[d] != axis.size for d, axis in enumerate(structure.axes[name]))
        }

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator and look at the sizes of what it returns."""
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
            self.faults.append(Fault(site.module, change.groups, failure(error)))
            return _zeros(inputs, change)
        if change is None:
            return out
        outputs = tensors_in(out)
        for number, dim in change.dims:
            shape = list(outputs[number].shape) if number < len(outputs) else []
            if dim >= len(shape) or shape[dim] != change.shapes[number][dim]:
                why = f"{site} gives shape {shape} where dimension {dim} must be {change.shapes[number][dim]}"
                self.faults.append(Fault(site.module, change.groups, why))
                return _zeros(outputs or inputs, change)
        return out

    def stopped(self, error: Exception) -> None:
        """Note that the run ended with this exception, in whichever module's own code.

        The modules of the same class that would have come after it run the same code, so they are taken to fail too.
        """
        frames = reversed([frame for frame, _ in walk_tb(error.__traceback__)])
        owners = (self._names.get(id(frame.f_locals.get("self"))) for frame in frames)
        owner, why = next((name for name in owners if name is not None), ""), failure(error)
        self._unfinished = {owner, *(set(self._names.values()) - self._entered)}
        self._stopped_in(owner, why)
        modules = dict(self._model.named_modules())
        for name, module in modules.items():
            if type(module) is type(modules[owner]) and name in self._unfinished - {owner}:
                self._stopped_in(name, f"{why} (in {owner}, of the same class)")

    def _stopped_in(self, module: str, why: str) -> None:
        groups = [
            name
            for name, members in self._inside.items()
            if module and any(member.tensor.startswith(f"{module}.") for member in members)
        ]
        self.faults.append(Fault(module, tuple(groups), why))

    def wrong(self, module: str) -> tuple[bool, int, int]:
        """How much is wrong in a module, to compare with another run: whether the run ended before it was through.

        Then how far it came, negative; and how many faults there were.
        """
        ended = module in self._unfinished
        return ended, -self._operators[module] if ended else 0, sum(fault.module == module for fault in self.faults)

    def finished(self) -> None:
        """Note what can be told only after a whole run: that a parameter of the cut model was not used."""
        for name in list(self._unused.values())[:1]:
            self.faults.append(Fault("", (), f"the copy of the model does not use its own {name}"))

    def _enter_module(self, module: nn.Module, args: Any) -> None:
        super()._enter_module(module, args)
        self._entered.add(self._stack[-1])


def _zeros(like: Sequence[Tensor], change: Change) -> Any:
    made = [like[min(number, len(like) - 1)].new_zeros(shape) for number, shape in enumerate(change.shapes)]
    return made if len(made) > 1 else made[0]


def failure(error: Any) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
