"""Configurations of Hugging Face models, which must describe the new sizes: the class is built from them, and saved.

No list says which field holds which size. A field is right if a model that the class builds from the configuration has
the shapes of the cut model; all fields are right if that model also computes the same with the weights of the cut one.
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
"""The shape of each tensor of a model's state, by name."""


class Fitted(NamedTuple):
    """The changes of a configuration with which its class builds certain shapes.

    Attributes:
        changes: dotted attribute to value, such as "config.intermediate_size".
        failure: the reason if the class cannot build these shapes; the changes are then those that come closest.
    """

    changes: dict[str, int]
    failure: str | None


def config_changes(small: nn.Module, structure: Structure, widths: Mapping[str, int], call: Call) -> dict[str, int]:
    """The new values of the fields of `small.config` with which its class builds a model of the same shapes.

    Returns:
        Dotted attribute to value, such as "config.intermediate_size". Empty if the model has no configuration, or if
        no configuration describes the model: layers of different widths, or a number of heads that the class computes.
    """
    if not has_config(small):
        return {}
    changes, failure = fit_config(small, structure, widths)
    return changes if changes and not failure and _computes_the_same(small, changes, call) else {}


def has_config(model: nn.Module) -> bool:
    """Whether a model has a Hugging Face configuration."""
    config = getattr(model, ROOT, None)
    return callable(getattr(config, "to_dict", None)) and callable(getattr(type(config), "from_dict", None))


def fit_config(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> Fitted:
    """Find the fields with which the class of a model builds a model whose groups have these widths.

    Args:
        model: dense or cut, with a configuration that describes the dense model.
        structure: of the dense model.
        widths: number of units per group name; other groups are whole.
    """
    sizes, shapes = _new_sizes(structure, widths), expected_shapes(model, structure, widths)
    changes: dict[str, int] = {}
    refusals: list[str] = []
    best = shape_deviations(model, changes, shapes)
    for path, value in [*fields(getattr(model, ROOT), ROOT)] * 2:  # some fields are right only once others are
        if value is not None and type(value) is not int:
            continue
        wanted = best.wanted if value is None else sizes.get(value, set())
        for new in sorted(wanted - {value}) if best.number else ():
            trial = shape_deviations(model, {**changes, path: new}, shapes)
            if trial.number == float("inf") and value is not None:  # a field without a value may mean something else
                refusals.append(trial.example)
            if trial.number < best.number:
                changes, best = {**changes, path: new}, trial
    failure = (refusals or [best.example])[0] if best.number else None
    return Fitted(changes, failure)


def expected_shapes(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> Shapes:
    """The shapes of the tensors of a model's state when its groups have these widths."""
    by_variable = structure.by_variable(widths)
    return {name: tuple(size_of(axis, by_variable) for axis in structure.axes[name]) for name in model.state_dict()}


def _new_sizes(structure: Structure, widths: Mapping[str, int]) -> dict[int, set[int]]:
    """Per old size, the new sizes of all axes of that size, among those of parameters and of shape operators."""
    by_variable = structure.by_variable(widths)
    sizes: dict[int, set[int]] = defaultdict(set)
    for axis in [*(a for axes in structure.axes.values() for a in axes), *(axis for _, _, axis in structure.sizes)]:
        sizes[axis.size].add(size_of(axis, by_variable))
    return sizes


def fields(config: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The fields of a configuration and of the configurations inside it, with dotted names."""
    for name, value in vars(config).items():
        if callable(getattr(value, "to_dict", None)):
            yield from fields(value, f"{path}.{name}")
        elif not name.startswith("_"):
            yield f"{path}.{name}", value


def skeleton(model: nn.Module, changes: Mapping[str, Any]) -> nn.Module:
    """A model of the same class without weights (on the meta device), from the configuration with these changes."""
    holder = nn.Module()
    setattr(holder, ROOT, copy.deepcopy(getattr(model, ROOT)))
    assign(holder, {"": dict(changes)})
    config: Any = getattr(holder, ROOT)
    type(config).from_dict(config.to_dict())  # raises the errors of reading it from a file
    with rng(), torch.device("meta"):
        return type(model)(config).train(model.training)  # type: ignore[call-arg]


class ShapeDeviations(NamedTuple):
    """The number of tensors with wrong shapes, the sizes that these should have, and a description of one of them."""

    number: float
    wanted: set[int]
    example: str


def shape_deviations(model: nn.Module, changes: Mapping[str, Any], shapes: Shapes | None = None) -> ShapeDeviations:
    """Compare the shapes of a model built from a changed configuration; their number is infinite if the class refuses.

    Args:
        model: its class and its configuration are used.
        changes: new values of fields of the configuration.
        shapes: the shapes that the state should have; by default those of `model`.
    """
    config = type(getattr(model, ROOT)).__name__
    shapes = _shapes(model) if shapes is None else shapes
    try:
        built = _shapes(skeleton(model, changes))
    except Exception as error:  # a library's class may raise anything
        values = ", ".join(f"{path.removeprefix(ROOT + '.')}={value}" for path, value in changes.items())
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        return ShapeDeviations(float("inf"), set(), f"{config} refuses {values}: {reason}")
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


def _computes_the_same(small: nn.Module, changes: Mapping[str, int], call: Call) -> bool:
    """Whether a model built with these changes computes the same, and the cut model itself still does with them."""
    built = filled(small, changes)
    before = {path: lookup(small, path) for path in changes}
    try:
        expected = run_model(small, call)
        assign(small, {"": dict(changes)})
        return not difference(run_model(built, call), expected) and not difference(run_model(small, call), expected)
    except Exception:  # the model does not run: another field would have to change as well
        return False
    finally:
        assign(small, {"": before})
