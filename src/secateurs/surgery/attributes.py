"""Stale sizes: modules keep sizes in attributes, which must follow the cut.

Where a rule knows the attribute's name (`in_channels` of a convolution) the new value is certain.  Elsewhere an integer
attribute of a module is taken for a size if it equals the old size of an axis that the module's own shape operators
used.  That is a guess, so it is tried, and kept only if the cut model computes what the masked one does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from torch import nn

from secateurs.structure import Structure
from secateurs.structure.indexing import size_of

Attributes = dict[str, dict[str, Any]]
"""New values of attributes, per module name."""


def certain(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> Attributes:
    """New values of the attributes that rules know by name."""
    changes: Attributes = defaultdict(dict)
    left = {structure.group(name).var: width for name, width in widths.items()}
    for module, name, axis in structure.sizes:
        new = size_of(axis, left)
        if name is None or new == axis.size:
            continue
        if _holds(model, module, name, axis.size):
            old = getattr(model.get_submodule(module), name)
            changes[module][name] = new if old == axis.size else tuple(new if n == axis.size else n for n in old)
    return dict(changes)


def guessed(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> tuple[Attributes, Attributes]:
    """New values of integer attributes that equal the old size of axes which the module used.

    Returns:
        Those of whose size all axes changed alike, and all of whose size some did.
    """
    left = {structure.group(name).var: width for name, width in widths.items()}
    used: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for module, name, axis in structure.sizes:
        if name is None:
            used[module][axis.size].add(size_of(axis, left))
    known = {(module, name) for module, name, axis in structure.sizes if _holds(model, module, name, axis.size)}
    likely: Attributes = defaultdict(dict)
    possible: Attributes = defaultdict(dict)
    for module, sizes in used.items():
        for name, value in vars(model.get_submodule(module)).items():
            if type(value) is not int or name.startswith("_") or (module, name) in known or value not in sizes:
                continue
            news = sizes[value] - {value}
            if len(news) == 1:
                possible[module][name] = next(iter(news))
                if value not in sizes[value]:
                    likely[module][name] = possible[module][name]
    return likely, possible


def _holds(model: nn.Module, module: str, name: str | None, size: int) -> bool:
    """Whether the attribute is that size, or a tuple in which it occurs once."""
    value = getattr(model.get_submodule(module), name, None) if name else None
    return value == size if isinstance(value, int) else isinstance(value, tuple) and value.count(size) == 1


def assign(model: nn.Module, changes: Attributes) -> None:
    """Set the attributes."""
    for module, values in changes.items():
        for name, value in values.items():
            setattr(model.get_submodule(module), name, value)
