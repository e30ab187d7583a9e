"""Configurations: models of Hugging Face's kind are built from one, and saved with it, so it must tell the new sizes.

Which field holds which size is not written anywhere.  But a field is right if the class, built from the configuration
anew, has the cut model's shapes; and all of them are if it computes the same with the cut model's weights.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from secateurs.data import Call
from secateurs.preserve import rng
from secateurs.structure import Structure
from secateurs.structure.indexing import size_of
from secateurs.surgery.attributes import assign, lookup
from secateurs.surgery.verify import difference, run

ROOT = "config"


def config_changes(small: nn.Module, structure: Structure, widths: Mapping[str, int], call: Call) -> dict[str, int]:
    """New values of the fields of `small.config`, with which its class builds a model of its shapes.

    Returns:
        Dotted attribute to value, such as "config.intermediate_size". Empty if the model has no configuration, or if
        none describes it: layers of different widths, or a number of heads that the class derives from something else.
    """
    if not callable(getattr(getattr(small, ROOT, None), "to_dict", None)):
        return {}
    sizes = _sizes(structure, widths)
    changes: dict[str, int] = {}
    with rng():
        wrong, wanted = _mismatches(small, changes)
        for path, value in [*_fields(getattr(small, ROOT), ROOT)] * 2:  # some fields are right only once others are
            for new in sorted((wanted if value is None else sizes.get(value, set())) - {value}) if wrong else ():
                left = _mismatches(small, {**changes, path: new})
                if left[0] < wrong:
                    changes, (wrong, wanted) = {**changes, path: new}, left
        return changes if changes and not wrong and _same(small, changes, call) else {}


def _sizes(structure: Structure, widths: Mapping[str, int]) -> dict[int, set[int]]:
    """The new sizes of all axes that the model's parameters and shape operators have, by their old size."""
    left = structure.by_variable(widths)
    sizes: dict[int, set[int]] = defaultdict(set)
    for axis in [*(a for axes in structure.axes.values() for a in axes), *(axis for _, _, axis in structure.sizes)]:
        sizes[axis.size].add(size_of(axis, left))
    return sizes


def _fields(config: Any, path: str) -> Iterator[tuple[str, int | None]]:
    """The integers of a configuration, and what is left open in it, with dotted names; configurations inside it too."""
    for name, value in vars(config).items():
        if (value is None or type(value) is int) and not name.startswith("_"):
            yield f"{path}.{name}", value
        elif callable(getattr(value, "to_dict", None)):
            yield from _fields(value, f"{path}.{name}")


def _built(small: nn.Module, changes: Mapping[str, int]) -> nn.Module:
    """A model of the same class, without weights, from the configuration with these changes."""
    holder = nn.Module()
    setattr(holder, ROOT, copy.deepcopy(getattr(small, ROOT)))
    assign(holder, {"": dict(changes)})
    with torch.device("meta"):
        return type(small)(getattr(holder, ROOT)).train(small.training)  # type: ignore[call-arg]


def _mismatches(small: nn.Module, changes: Mapping[str, int]) -> tuple[float, set[int]]:
    """How many parameters and buffers have other shapes in a model built so, and the sizes that they should have.

    As many as can be if the class refuses these values.
    """
    try:
        built = _built(small, changes).state_dict()
    except Exception:  # a library's class may raise anything
        return float("inf"), set()
    its = small.state_dict()
    wrong = [name for name in built.keys() & its.keys() if built[name].shape != its[name].shape]
    return len(built.keys() ^ its.keys()) + len(wrong), {size for name in wrong for size in its[name].shape}


def _same(small: nn.Module, changes: Mapping[str, int], call: Call) -> bool:
    """Whether a model built so computes what the cut one does, and the cut one still does with that configuration."""
    built = _built(small, changes)
    built.load_state_dict(small.state_dict(), assign=True)
    buffers = dict(small.named_buffers())
    for name, buffer in list(built.named_buffers()):
        if buffer.is_meta and name in buffers:  # not part of the state
            path, _, key = name.rpartition(".")
            built.get_submodule(path)._buffers[key] = buffers[name]
    before = {path: lookup(small, path) for path in changes}
    try:
        expected = run(small, call)
        assign(small, {"": dict(changes)})
        return not difference(run(built, call), expected) and not difference(run(small, call), expected)
    except Exception:  # it does not run: something else has to change as well
        return False
    finally:
        assign(small, {"": before})
