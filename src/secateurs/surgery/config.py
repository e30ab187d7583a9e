"""Configurations: models of Hugging Face's kind are built from one, and saved with it, so it must tell the new sizes.

Which field holds which size is not written anywhere.  But a field is right if the class, built from the configuration
anew, has the cut model's shapes; and all of them are if it computes the same with the cut model's weights.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from secateurs.data import Call
from secateurs.structure import Structure, size_of
from secateurs.surgery.stale_attributes import assign, lookup
from secateurs.surgery.verify import difference, run_model
from secateurs.utils import rng

ROOT = "config"


Shapes = Mapping[str, tuple[int, ...]]
"""Of each tensor of a model's state, by name."""


class Fitted(NamedTuple):
    """What a configuration has to say for its class to build certain shapes.

    Attributes:
        changes: dotted attribute to value, such as "config.intermediate_size".
        failure: why these shapes cannot be had, if they cannot; the changes are those that come closest then.
    """

    changes: dict[str, int]
    failure: str | None


def config_changes(small: nn.Module, structure: Structure, widths: Mapping[str, int], call: Call) -> dict[str, int]:
    """New values of the fields of `small.config`, with which its class builds a model of its shapes.

    Returns:
        Dotted attribute to value, such as "config.intermediate_size". Empty if the model has no configuration, or if
        none describes it: layers of different widths, or a number of heads that the class derives from something else.
    """
    if not has_config(small):
        return {}
    changes, failure = fit_config(small, structure, widths)
    return changes if changes and not failure and _same(small, changes, call) else {}


def has_config(model: nn.Module) -> bool:
    """Whether a model has a configuration of Hugging Face's kind."""
    config = getattr(model, ROOT, None)
    return callable(getattr(config, "to_dict", None)) and callable(getattr(type(config), "from_dict", None))


def fit_config(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> Fitted:
    """Look for the fields with which the class of a model builds one whose groups have these widths.

    Args:
        model: dense or cut already, with a configuration that describes the dense model.
        structure: of the dense model.
        widths: of groups; the others are whole.
    """
    sizes, shapes = _sizes(structure, widths), shaped(model, structure, widths)
    changes: dict[str, int] = {}
    refusals: list[str] = []
    best = shape_deviations(model, changes, shapes)
    for path, value in [*fields(getattr(model, ROOT), ROOT)] * 2:  # some fields are right only once others are
        if value is not None and type(value) is not int:
            continue
        wanted = best.wanted if value is None else sizes.get(value, set())
        for new in sorted(wanted - {value}) if best.number else ():
            found = shape_deviations(model, {**changes, path: new}, shapes)
            if found.number == float("inf") and value is not None:  # a field left open may be for something else
                refusals.append(found.example)
            if found.number < best.number:
                changes, best = {**changes, path: new}, found
    failure = (refusals or [best.example])[0] if best.number else None
    return Fitted(changes, failure)


def shaped(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> Shapes:
    """The shapes that the tensors of a model's state have when its groups have these widths."""
    left = structure.by_variable(widths)
    return {name: tuple(size_of(axis, left) for axis in structure.axes[name]) for name in model.state_dict()}


def _sizes(structure: Structure, widths: Mapping[str, int]) -> dict[int, set[int]]:
    """The new sizes of all axes that the model's parameters and shape operators have, by their old size."""
    left = structure.by_variable(widths)
    sizes: dict[int, set[int]] = defaultdict(set)
    for axis in [*(a for axes in structure.axes.values() for a in axes), *(axis for _, _, axis in structure.sizes)]:
        sizes[axis.size].add(size_of(axis, left))
    return sizes


def fields(config: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What a configuration holds, with dotted names; what configurations inside it hold, too."""
    for name, value in vars(config).items():
        if callable(getattr(value, "to_dict", None)):
            yield from fields(value, f"{path}.{name}")
        elif not name.startswith("_"):
            yield f"{path}.{name}", value


def skeleton(model: nn.Module, changes: Mapping[str, Any]) -> nn.Module:
    """A model of the same class, without weights, from the configuration with these changes."""
    holder = nn.Module()
    setattr(holder, ROOT, copy.deepcopy(getattr(model, ROOT)))
    assign(holder, {"": dict(changes)})
    config: Any = getattr(holder, ROOT)
    type(config).from_dict(config.to_dict())  # raises what reading it from a file would
    with rng(), torch.device("meta"):
        return type(model)(config).train(model.training)  # type: ignore[call-arg]


class ShapeDeviations(NamedTuple):
    """How many tensors have other shapes than they should, the sizes that they should have, and one of them."""

    number: float
    wanted: set[int]
    example: str


def shape_deviations(model: nn.Module, changes: Mapping[str, Any], shapes: Shapes | None = None) -> ShapeDeviations:
    """What is wrong with a model built so; infinitely much if the class refuses these values.

    Args:
        model: whose class and configuration it is.
        changes: of its configuration's fields.
        shapes: that its state should have; by default those of `model`.
    """
    config = type(getattr(model, ROOT)).__name__
    shapes = _shapes(model) if shapes is None else shapes
    try:
        built = _shapes(skeleton(model, changes))
    except Exception as error:  # a library's class may raise anything
        asked = ", ".join(f"{path.removeprefix(ROOT + '.')}={value}" for path, value in changes.items())
        why = str(error).strip().splitlines()[-1].strip().rstrip(".")
        return ShapeDeviations(float("inf"), set(), f"{config} refuses {asked}: {why}")
    wrong = [name for name in shapes if name in built and built[name] != shapes[name]]
    others = sorted(built.keys() ^ shapes.keys())
    example = f"{config} describes a model with other tensors: {others[0]}" if others else ""
    if wrong:
        name = wrong[0]
        example = f"no field of {config} makes {name} {list(shapes[name])} rather than {list(built[name])}"
    return ShapeDeviations(len(others) + len(wrong), {size for name in wrong for size in shapes[name]}, example)


def _shapes(model: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def filled(small: nn.Module, changes: Mapping[str, Any]) -> nn.Module:
    """A model of the same class, built from the configuration with these changes, with the tensors of `small`."""
    built = skeleton(small, changes)
    built.load_state_dict(small.state_dict(), assign=True)
    buffers = dict(small.named_buffers())
    for name, buffer in list(built.named_buffers()):
        if buffer.is_meta and name in buffers:  # not part of the state
            path, _, key = name.rpartition(".")
            built.get_submodule(path)._buffers[key] = buffers[name]
    return built


def _same(small: nn.Module, changes: Mapping[str, int], call: Call) -> bool:
    """Whether a model built so computes what the cut one does, and the cut one still does with that configuration."""
    built = filled(small, changes)
    before = {path: lookup(small, path) for path in changes}
    try:
        expected = run_model(small, call)
        assign(small, {"": dict(changes)})
        return not difference(run_model(built, call), expected) and not difference(run_model(small, call), expected)
    except Exception:  # it does not run: something else has to change as well
        return False
    finally:
        assign(small, {"": before})
