"""Lists of layers: what is left of them, and the numbers that the layers hold of their own places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import nn

from secateurs.surgery.cut import rebuild


class KeptModules(NamedTuple):
    """How many modules a list held, and the indices of those that stay."""

    total: int
    indices: tuple[int, ...]


def containers(model: nn.Module, names: Iterable[str]) -> dict[str, KeptModules]:
    """The lists that lose modules of these names, by their own names."""
    gone = set(names)
    found = {}
    for path in dict.fromkeys(map(container, names)):
        children = [f"{path}.{child}".lstrip(".") for child in model.get_submodule(path)._modules]
        found[path] = KeptModules(len(children), tuple(i for i, child in enumerate(children) if child not in gone))
    return found


def without_layers(model: nn.Module, names: Sequence[str], share: bool = False) -> nn.Module:
    """A copy of the model whose lists do not hold the modules of these names; what is left is numbered anew.

    Args:
        model: it is not changed.
        names: of the modules.
        share: let the copy use the memory of the model's own weights.

    Raises:
        ModelError: the model cannot be copied.
    """
    inside = tuple(f"{name}." for name in names)
    small = rebuild(model, lambda name, tensor: tensor if share or name.startswith(inside) else tensor.clone())
    for path, kept in containers(model, names).items():
        holder = small.get_submodule(path)
        places = list(_places(list(holder.children())))
        items = [list(holder._modules.items())[index] for index in kept.indices]
        numbered = all(key.isdigit() for key in holder._modules)
        holder._modules.clear()
        holder._modules.update({str(new) if numbered else key: its for new, (key, its) in enumerate(items)})
        for new, old in enumerate(kept.indices):
            for module, attribute, first in (its[old] for its in places if old in its):
                setattr(module, attribute, first + new)
    return small


def _places(modules: Sequence[nn.Module]) -> Iterator[dict[int, tuple[nn.Module, str, int]]]:
    """Attributes in which modules of a list, or modules inside them, hold their own place in it.

    Such an attribute grows by one from each to the next, as far as they have it.

    Yields:
        Number of the module to (who holds the attribute, its name, the value that the first module's would be).
    """
    found: dict[tuple[str, str], dict[int, tuple[nn.Module, str, int]]] = defaultdict(dict)
    for number, module in enumerate(modules):
        for path, part in module.named_modules():
            for attribute, value in vars(part).items():
                if type(value) is int:
                    found[path, attribute][number] = part, attribute, value - number
    for holders in found.values():
        if len(holders) > 1 and len({first for _, _, first in holders.values()}) == 1:
            yield holders


def container(name: str) -> str:
    """The name of the list or sequence that a layer is in."""
    return name.rpartition(".")[0]
