"""Stale attributes: sizes in attributes of modules that must be updated after a cut.

If a rule names the attribute (`in_channels` of a convolution), the new value is certain. Otherwise a number in an
attribute may be the size of an axis that the shape operators of the module use, if both are equal. Such guesses are
tried, and kept only if the cut model computes the same outputs as the masked model.
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
"""Module name to attribute name to new value."""

Reading = tuple[Axis | int, ...]
"""One interpretation of the numbers in an attribute: each number is the size of an axis, or a constant."""

Choice = dict[tuple[str, str], Reading]
"""(module name, attribute name) to the chosen reading."""


class SizeAttributes:
    """The attributes of a model that may hold sizes, and the possible readings of each attribute.

    Args:
        model: the dense model.
        structure: of the model.
    """

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
        for module, submodule in model.named_modules():
            self._add_shapes(module, submodule)
        splits: dict[str, list[tuple[Axis, ...]]] = defaultdict(list)
        for module, parts in structure.splits:
            splits[module].append(parts)
        for module, axes in used.items():
            self._read(module, model.get_submodule(module), axes, splits[module])

    def _add_shapes(self, name: str, module: nn.Module) -> None:
        """Add the attributes that hold the shape of a parameter of the module, such as `RMSNorm.normalized_shape`."""
        for parameter, tensor in module.named_parameters(recurse=False):
            axes = self._structure.axes[f"{name}.{parameter}" if name else parameter]
            for attribute, value in vars(module).items():
                numbers = value if isinstance(value, (list, tuple)) else ()
                is_shape = all(type(n) is int for n in numbers) and tuple(numbers) == tensor.shape
                if numbers and is_shape and (name, attribute) not in self._old:
                    self._old[name, attribute] = value
                    self._certain.append((name, attribute, axes))

    def _read(self, name: str, module: nn.Module, axes: Iterable[Axis], splits: Iterable[tuple[Axis, ...]]) -> None:
        """Collect the readings of all attributes of one module."""
        by_size: dict[int, list[Axis]] = defaultdict(list)
        for axis in dict.fromkeys(axes):
            by_size[axis.size].append(axis)
        known = WIDTHS if isinstance(module, nn.MultiheadAttention) else ()
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or attribute in known or (name, attribute) in self._old:
                continue
            numbers = (value,) if type(value) is int else tuple(value) if isinstance(value, (list, tuple)) else ()
            if any(type(n) is int and n in by_size for n in numbers):
                as_split: list[Reading] = [parts for parts in splits if tuple(axis.size for axis in parts) == numbers]
                one_by_one: list[Reading] = [
                    (*numbers[:i], axis, *numbers[i + 1 :])
                    for i, n in enumerate(numbers)
                    if type(n) is int
                    for axis in by_size.get(n, ())
                ]
                self._readings[name][attribute] = as_split or one_by_one
                self._old[name, attribute] = value

    def changes(self, widths: Mapping[str, int], choice: Choice) -> Attributes:
        """Compute the attributes that change at these widths.

        An attribute without a chosen reading changes only if all readings of the attribute give the same value.

        Args:
            widths: group name to number of units.
            choice: the chosen readings.
        """
        sizes = self._structure.by_variable(widths)
        values = [(module, name, _value(reading, sizes)) for module, name, reading in self._certain]
        for module, attributes in self._readings.items():
            for name, readings in attributes.items():
                chosen = [choice[module, name]] if (module, name) in choice else readings
                candidates = {_value(reading, sizes) for reading in chosen}
                if len(candidates) == 1:
                    values.append((module, name, candidates.pop()))
        changes: Attributes = defaultdict(dict)
        for module, name, value in values:
            new = self._new_value(module, name, value)
            if new is not None:
                changes[module][name] = new
        return dict(changes)

    def _new_value(self, module: str, name: str, value: tuple[int, ...]) -> int | list[int] | None:
        """The value in the type of the attribute, or None if the attribute has this value already."""
        old = self._old[module, name]
        if not isinstance(old, (list, tuple)):
            return None if value == (old,) else value[0]
        return None if value == tuple(old) else list(value)

    def settle(self, changes: Attributes, widths: Mapping[str, int]) -> None:
        """Fix the readings that give the values in `changes` at these widths; they are no longer guesses."""
        sizes = self._structure.by_variable(widths)
        for module, values in changes.items():
            for name, value in values.items():
                readings = self._readings[module].pop(name, ())
                matching = (r for r in readings if self._new_value(module, name, _value(r, sizes)) == value)
                self._certain += [(module, name, reading) for reading in [*matching][:1]]

    def options(self, module: str, widths: Mapping[str, int]) -> list[Choice]:
        """List the choices for single attributes of a module: first no change, then each reading with a new value."""
        sizes = self._structure.by_variable(widths)
        choices: list[Choice] = []
        for name, readings in self._readings.get(module, {}).items():
            by_value = {_value(reading, sizes): reading for reading in readings}
            old = self._old[module, name]
            unchanged = tuple(old) if isinstance(old, (list, tuple)) else (old,)
            if by_value.keys() - {unchanged}:
                choices += [{(module, name): reading} for reading in {unchanged: unchanged, **by_value}.values()]
        return choices

    def options_of(self, group: str, widths: Mapping[str, int]) -> list[Choice]:
        """List the choices for all modules with shape operators that use the size of a group; see `options`."""
        var = self._structure.group(group).var
        uses = (module for module, name, axis in self._structure.sizes if name is None and var in leaves(axis))
        return [option for module in dict.fromkeys(uses) for option in self.options(module, widths)]


def _value(reading: Reading, sizes: Mapping[Any, int]) -> tuple[int, ...]:
    """The numbers of an attribute according to a reading."""
    return tuple(size_of(n, sizes) if isinstance(n, Axis) else n for n in reading)


def assign(model: nn.Module, changes: Attributes) -> None:
    """Set attributes of modules. Attribute names may be dotted; lists remain lists, and tuples remain tuples."""
    for name, values in changes.items():
        module = model.get_submodule(name)
        for path, value in values.items():
            holder, _, attribute = path.rpartition(".")
            old = lookup(module, path)
            new = type(old)(value) if isinstance(old, (list, tuple)) else value
            setattr(lookup(module, holder), attribute, new)


def lookup(module: nn.Module, path: str) -> Any:
    """Get the value of a dotted attribute; an empty path means the module itself."""
    return reduce(getattr, path.split("."), module) if path else module


def merge_attributes(before: Attributes, changes: Attributes) -> Attributes:
    """Combine the changes of two successive cuts.

    Args:
        before: the changes from the dense model to the first cut.
        changes: the changes from the first cut to the second cut.

    Returns:
        The changes from the dense model to the second cut.
    """
    return {name: {**before.get(name, {}), **changes.get(name, {})} for name in [*before, *changes]}
