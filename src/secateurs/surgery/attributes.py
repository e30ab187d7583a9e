"""Stale sizes: modules keep sizes in attributes, which must follow the cut.

Where a rule knows the attribute's name (`in_channels` of a convolution) the new value is certain.  Elsewhere an integer
attribute of a module is taken for a size if it equals the old size of an axis that the module's own shape operators
used.  That is a guess, so it is tried, and kept only if the cut model computes what the masked one does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import nn

from secateurs.structure import Structure
from secateurs.structure.indexing import size_of
from secateurs.surgery.adapt import WIDTHS

Attributes = dict[str, dict[str, Any]]
"""New values of attributes, per module name."""

Choice = Mapping[str, Sequence[str]]
"""Per module name, the guessed attributes that are taken for sizes."""


@dataclass(frozen=True)
class Stale:
    """Attributes that a cut leaves behind, with the values that they must have or might have to have.

    Attributes:
        certain: those that rules know by name.
        likely: guesses where all axes of that size changed alike.
        possible: all guesses; of that size at least one axis changed.
    """

    certain: Attributes
    likely: Attributes
    possible: Attributes

    def changes(self, choice: Choice) -> Attributes:
        """New values when a choice is made for some modules, and the likely guesses are taken for the others."""
        changes = {module: dict(values) for module, values in self.certain.items()}
        for module, values in self.possible.items():
            chosen = choice.get(module, self.likely.get(module, {}))
            changes[module] = {n: v for n, v in values.items() if n in chosen} | changes.get(module, {})
        return changes

    def options(self, module: str) -> list[Sequence[str]]:
        """What can be chosen for one module beside the likely guesses: all, none, each alone."""
        names = list(self.possible.get(module, {}))
        return [names, [], *([name] for name in names)] if names else []

    def choices(self, choice: Choice, singles: bool) -> list[Choice]:
        """What can be chosen for the whole model, `choice` first; each guess alone only if asked, as they are many."""
        everything = {module: list(values) for module, values in self.possible.items()}
        nothing: Choice = {module: [] for module in self.possible}
        alone = [{**nothing, module: [name]} for module, names in everything.items() for name in names]
        return [choice, everything, nothing, *(alone if singles else [])] if everything else [choice]


def stale(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> Stale:
    """The attributes of the model's modules that these widths of groups make stale."""
    left = {structure.group(name).var: width for name, width in widths.items()}
    certain: Attributes = defaultdict(dict)
    known = set()
    used: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for module, name, axis in structure.sizes:
        new = size_of(axis, left)
        if name is None:
            used[module][axis.size].add(new)
        elif _holds(model, module, name, axis.size):
            known.add((module, name))
            old = getattr(model.get_submodule(module), name)
            if new != axis.size:
                certain[module][name] = new if old == axis.size else tuple(new if n == axis.size else n for n in old)
    likely, possible = _guesses(model, used, known)
    for module, axes in structure.splits:
        old, new = [axis.size for axis in axes], [size_of(axis, left) for axis in axes]
        for name, value in vars(model.get_submodule(module)).items():
            if old != new and isinstance(value, (list, tuple)) and list(value) == old:
                likely[module][name] = possible[module][name] = new
    return Stale(certain, likely, possible)


def _guesses(
    model: nn.Module, used: Mapping[str, Mapping[int, set[int]]], known: set[tuple[str, str]]
) -> tuple[Attributes, Attributes]:
    """Integers, alone or in a sequence, that equal the old size of an axis that their module used.

    Args:
        model: whose modules are looked at.
        used: per module and old size, the new sizes.
        known: attributes that need no guess.

    Returns:
        The likely and all possible new values.
    """
    likely: Attributes = defaultdict(dict)
    possible: Attributes = defaultdict(dict)
    for module, sizes in used.items():
        owner = model.get_submodule(module)
        others = WIDTHS if isinstance(owner, nn.MultiheadAttention) else ()
        changed = {old: next(iter(news - {old})) for old, news in sizes.items() if len(news - {old}) == 1}
        for name, value in vars(owner).items():
            numbers = [value] if type(value) is int else list(value) if isinstance(value, (list, tuple)) else []
            hits = [n for n in numbers if type(n) is int and n in changed]
            if not hits or name in others or name.startswith("_") or (module, name) in known:
                continue
            new = [changed.get(n, n) if type(n) is int else n for n in numbers]
            possible[module][name] = new[0] if type(value) is int else new
            if not any(n in sizes[n] for n in hits):
                likely[module][name] = possible[module][name]
    return likely, possible


def _holds(model: nn.Module, module: str, name: str, size: int) -> bool:
    """Whether the attribute is that size, or a tuple in which it occurs once."""
    value = getattr(model.get_submodule(module), name, None)
    return value == size if isinstance(value, int) else isinstance(value, tuple) and value.count(size) == 1


def assign(model: nn.Module, changes: Attributes) -> None:
    """Set the attributes, which may be dotted; what was a list stays one, and what was a tuple."""
    for name, values in changes.items():
        module = model.get_submodule(name)
        for path, value in values.items():
            holder, _, attribute = path.rpartition(".")
            old = lookup(module, path)
            new = type(old)(value) if isinstance(old, (list, tuple)) else value
            setattr(lookup(module, holder), attribute, new)


def lookup(module: nn.Module, path: str) -> Any:
    """The value of a dotted attribute; the module itself where the path is empty."""
    return reduce(getattr, path.split("."), module) if path else module
