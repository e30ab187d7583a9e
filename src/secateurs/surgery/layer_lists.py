"""Remove layers from lists of layers, and update the attributes in which layers store their index."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import nn

from secateurs.surgery.cut import rebuild


class KeptModules(NamedTuple):
    """The modules of a list that are kept.

    Attributes:
        total: the number of modules before the removal.
        indices: the indices of the kept modules.
    """

    total: int
    indices: tuple[int, ...]


def containers(model: nn.Module, names: Iterable[str]) -> dict[str, KeptModules]:
    """Find the lists that contain these modules.

    Args:
        model: not changed.
        names: the names of the modules to remove.

    Returns:
        The name of each list to the modules that it keeps.
    """
    removed = set(names)
    result = {}
    for path in dict.fromkeys(map(container, names)):
        children = [f"{path}.{child}".lstrip(".") for child in model.get_submodule(path)._modules]
        result[path] = KeptModules(len(children), tuple(i for i, child in enumerate(children) if child not in removed))
    return result


def without_layers(model: nn.Module, names: Sequence[str], share: bool = False) -> nn.Module:
    """Copy the model without some modules of its lists; the remaining modules are renumbered.

    Args:
        model: not changed.
        names: the names of the modules to remove.
        share: whether the copy shares the memory of the model's weights.

    Raises:
        ModelError: the model cannot be copied.
    """
    inside = tuple(f"{name}." for name in names)
    small = rebuild(model, lambda name, tensor: tensor if share or name.startswith(inside) else tensor.clone())
    for path, kept in containers(model, names).items():
        holder = small.get_submodule(path)
        attributes = list(_index_attributes(list(holder.children())))
        items = [list(holder._modules.items())[index] for index in kept.indices]
        numbered = all(key.isdigit() for key in holder._modules)
        holder._modules.clear()
        holder._modules.update({str(new) if numbered else key: module for new, (key, module) in enumerate(items)})
        for new, old in enumerate(kept.indices):
            for module, attribute, first in (holders[old] for holders in attributes if old in holders):
                setattr(module, attribute, first + new)
    return small


def _index_attributes(modules: Sequence[nn.Module]) -> Iterator[dict[int, tuple[nn.Module, str, int]]]:
    """Find the attributes in which modules of a list, or modules inside them, store the index of the module.

    The difference between the value of such an attribute and the index is the same for all modules that have it.

    Yields:
        For each attribute: index to the module with the attribute, the name of the attribute, and the value that
        belongs to index 0.
    """
    candidates: dict[tuple[str, str], dict[int, tuple[nn.Module, str, int]]] = defaultdict(dict)
    for number, module in enumerate(modules):
        for path, part in module.named_modules():
            for attribute, value in vars(part).items():
                if type(value) is int:
                    candidates[path, attribute][number] = part, attribute, value - number
    for holders in candidates.values():
        if len(holders) > 1 and len({first for _, _, first in holders.values()}) == 1:
            yield holders


def container(name: str) -> str:
    """The name of the list or sequence that contains a layer."""
    return name.rpartition(".")[0]
