"""Stale sizes: modules keep sizes in attributes, which must follow the cut.

Where a rule knows the attribute's name (`in_channels` of a convolution) the new value is certain.  Elsewhere a number
in an attribute of a module is taken for the size of an axis that the module's own shape operators used, if it equals
its old size.  That is a guess, so it is tried, and kept only if the cut model computes what the masked one does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from torch import nn

from secateurs.structure import Axis, Structure, leaves, size_of
from secateurs.surgery.multihead_attention import WIDTHS

Attributes = dict[str, dict[str, Any]]
"""New values of attributes, per module name."""

Reading = tuple[Axis | int, ...]
"""What the numbers in one attribute are taken for: the size of an axis, or just that number."""

Choice = dict[tuple[str, str], Reading]
"""How the attributes (module, name) are read."""


class HeldSizes:
    """The attributes of a model's modules that may hold sizes, and the ways in which they can be read."""

    def __init__(self, model: nn.Module, structure: Structure):
        self._structure = structure
        self._certain: list[tuple[str, str, Reading]] = []
        self._readings: dict[str, dict[str, list[Reading]]] = defaultdict(dict)
        self._old: dict[tuple[str, str], Any] = {}
        used: dict[str, list[Axis]] = defaultdict(list)
        for module, name, axis in structure.sizes:
            if name is None:
                used[module].append(axis)
            elif (old := getattr(model.get_submodule(module), name, None)) is not None:
                numbers = old if isinstance(old, tuple) else (old,)
                if numbers.count(axis.size) == 1:
                    self._old[module, name] = old
                    self._certain.append((module, name, tuple(axis if n == axis.size else n for n in numbers)))
        splits: dict[str, list[tuple[Axis, ...]]] = defaultdict(list)
        for module, parts in structure.splits:
            splits[module].append(parts)
        for module, axes in used.items():
            self._read(module, model.get_submodule(module), axes, splits[module])

    def _read(self, name: str, module: nn.Module, axes: Iterable[Axis], splits: Iterable[tuple[Axis, ...]]) -> None:
        by_size: dict[int, list[Axis]] = defaultdict(list)
        for axis in dict.fromkeys(axes):
            by_size[axis.size].append(axis)
        known = WIDTHS if isinstance(module, nn.MultiheadAttention) else ()
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or attribute in known or (name, attribute) in self._old:
                continue
            numbers = (value,) if type(value) is int else tuple(value) if isinstance(value, (list, tuple)) else ()
            if any(type(n) is int and n in by_size for n in numbers):
                whole: list[Reading] = [parts for parts in splits if tuple(axis.size for axis in parts) == numbers]
                singly: list[Reading] = [
                    (*numbers[:i], axis, *numbers[i + 1 :])
                    for i, n in enumerate(numbers)
                    if type(n) is int
                    for axis in by_size.get(n, ())
                ]
                self._readings[name][attribute] = whole or singly
                self._old[name, attribute] = value

    def changes(self, widths: Mapping[str, int], choice: Choice) -> Attributes:
        """New values at these widths.  What is not chosen is read in the one way that changes it, if there is one."""
        left = self._structure.by_variable(widths)
        found = [(module, name, _value(reading, left)) for module, name, reading in self._certain]
        for module, readings in self._readings.items():
            for name, ways in readings.items():
                values = {_value(way, left) for way in ([choice[module, name]] if (module, name) in choice else ways)}
                if len(values) == 1:
                    found.append((module, name, values.pop()))
        changes: Attributes = defaultdict(dict)
        for module, name, value in found:
            new = self._differs(module, name, value)
            if new is not None:
                changes[module][name] = new
        return dict(changes)

    def _differs(self, module: str, name: str, value: tuple[int, ...]) -> int | list[int] | None:
        """A value as the attribute would hold it, if it is not what it holds already."""
        old = self._old[module, name]
        if not isinstance(old, (list, tuple)):
            return None if value == (old,) else value[0]
        return None if value == tuple(old) else list(value)

    def settle(self, changes: Attributes, widths: Mapping[str, int]) -> None:
        """Take for certain the readings that gave these new values at these widths."""
        left = self._structure.by_variable(widths)
        for module, values in changes.items():
            for name, value in values.items():
                ways = self._readings[module].pop(name, ())
                right = (way for way in ways if self._differs(module, name, _value(way, left)) == value)
                self._certain += [(module, name, way) for way in [*right][:1]]

    def options(self, module: str, widths: Mapping[str, int]) -> list[Choice]:
        """Every single reading of an attribute of this module that gives it another value at these widths, or none."""
        left = self._structure.by_variable(widths)
        found: list[Choice] = []
        for name, ways in self._readings.get(module, {}).items():
            values = {_value(way, left): way for way in ways}
            old = self._old[module, name]
            unchanged = tuple(old) if isinstance(old, (list, tuple)) else (old,)
            if values.keys() - {unchanged}:
                found += [{(module, name): way} for way in {unchanged: unchanged, **values}.values()]
        return found

    def options_of(self, group: str, widths: Mapping[str, int]) -> list[Choice]:
        """The same for every module that used the size of a group."""
        var = self._structure.group(group).var
        uses = (module for module, name, axis in self._structure.sizes if name is None and var in leaves(axis))
        return [option for module in dict.fromkeys(uses) for option in self.options(module, widths)]


def _value(reading: Reading, left: Mapping[Any, int]) -> tuple[int, ...]:
    return tuple(size_of(n, left) if isinstance(n, Axis) else n for n in reading)


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


def merge_attributes(before: Attributes, changes: Attributes) -> Attributes:
    """Changes to a model that was changed before, as changes to the dense one."""
    return {name: {**before.get(name, {}), **changes.get(name, {})} for name in [*before, *changes]}
