"""Update Hugging Face configurations to the new sizes, so that the class can build the cut model.

There is no list of the fields that hold sizes. Fields are found by trial: the class builds a model from the changed
configuration, and the shapes are compared with the cut model. The changes are accepted if the built model also computes
the same outputs with the weights of the cut model.
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
"""The attribute of a model that holds the configuration."""

Shapes = Mapping[str, tuple[int, ...]]
"""Name to shape, for each tensor in the state of a model."""


class Fitted(NamedTuple):
    """The result of fitting a configuration to shapes.

    Attributes:
        changes: dotted attribute to new value, such as "config.intermediate_size"; the closest fit if it failed.
        failure: the reason if the class cannot build the shapes, otherwise None.
    """

    changes: dict[str, int]
    failure: str | None


def config_changes(small: nn.Module, structure: Structure, widths: Mapping[str, int], call: Call) -> dict[str, int]:
    """Find the changes of `small.config` with which the class builds a model equal to `small`.

    Args:
        small: the cut model.
        structure: of the dense model.
        widths: group name to number of units; groups that are missing have all units.
        call: example inputs.

    Returns:
        Dotted attribute to new value, such as "config.intermediate_size". Empty if the model has no configuration, or
        if no configuration describes the model, for example because layers of one kind have different widths.
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
    """Find the changes of a configuration with which the class builds a model with these widths.

    Args:
        model: the dense or the cut model, with the configuration of the dense model.
        structure: of the dense model.
        widths: group name to number of units; groups that are missing have all units.
    """
    sizes, shapes = _new_sizes(structure, widths), expected_shapes(model, structure, widths)
    changes: dict[str, int] = {}
    errors: list[str] = []
    best = shape_deviations(model, changes, shapes)
    for path, value in [*fields(getattr(model, ROOT), ROOT)] * 2:  # twice: some fields improve only after later ones
        if value is not None and type(value) is not int:
            continue
        candidates = best.expected_sizes if value is None else sizes.get(value, set())
        for new in sorted(candidates - {value}) if best.number else ():
            trial = shape_deviations(model, {**changes, path: new}, shapes)
            if trial.number == float("inf") and value is not None:  # a field that was None may not hold a size at all
                errors.append(trial.example)
            if trial.number < best.number:
                changes, best = {**changes, path: new}, trial
    failure = (errors or [best.example])[0] if best.number else None
    return Fitted(changes, failure)


def expected_shapes(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> Shapes:
    """The shapes of all tensors in the state of a model when the groups have these widths."""
    by_variable = structure.by_variable(widths)
    return {name: tuple(size_of(axis, by_variable) for axis in structure.axes[name]) for name in model.state_dict()}


def _new_sizes(structure: Structure, widths: Mapping[str, int]) -> dict[int, set[int]]:
    """Old size to the new sizes of all axes of this size, over the axes of parameters and of shape operators."""
    by_variable = structure.by_variable(widths)
    sizes: dict[int, set[int]] = defaultdict(set)
    for axis in [*(a for axes in structure.axes.values() for a in axes), *(axis for _, _, axis in structure.sizes)]:
        sizes[axis.size].add(size_of(axis, by_variable))
    return sizes


def fields(config: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Iterate over the fields of a configuration and of nested configurations, with dotted names."""
    for name, value in vars(config).items():
        if callable(getattr(value, "to_dict", None)):
            yield from fields(value, f"{path}.{name}")
        elif not name.startswith("_"):
            yield f"{path}.{name}", value


def skeleton(model: nn.Module, changes: Mapping[str, Any]) -> nn.Module:
    """Build a model of the same class on the meta device, from the configuration with changes."""
    holder = nn.Module()
    setattr(holder, ROOT, copy.deepcopy(getattr(model, ROOT)))
    assign(holder, {"": dict(changes)})
    config: Any = getattr(holder, ROOT)
    type(config).from_dict(config.to_dict())  # raises the same errors as reading the configuration from a file
    with rng(), torch.device("meta"):
        return type(model)(config).train(model.training)  # type: ignore[call-arg]


class ShapeDeviations(NamedTuple):
    """The differences between the shapes of a built model and the expected shapes.

    Attributes:
        number: the number of tensors with wrong shapes; infinite if the class raises an error.
        expected_sizes: the expected sizes of all dimensions of these tensors.
        example: a description of one difference, or of the error.
    """

    number: float
    expected_sizes: set[int]
    example: str


def shape_deviations(model: nn.Module, changes: Mapping[str, Any], shapes: Shapes | None = None) -> ShapeDeviations:
    """Build a model from a changed configuration and compare the shapes.

    Args:
        model: gives the class and the configuration.
        changes: dotted attribute to new value.
        shapes: the expected shapes; by default the shapes of `model`.
    """
    config = type(getattr(model, ROOT)).__name__
    shapes = _shapes(model) if shapes is None else shapes
    try:
        built = _shapes(skeleton(model, changes))
    except Exception as error:  # a library's class may raise anything
        values = ", ".join(f"{path.removeprefix(ROOT + '.')}={value}" for path, value in changes.items())
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        return ShapeDeviations(float("inf"), set(), f"{config} does not accept {values}: {reason}")
    wrong = [name for name in shapes if name in built and built[name] != shapes[name]]
    unmatched = sorted(built.keys() ^ shapes.keys())
    example = f"{config} describes a model with different tensors, such as {unmatched[0]}" if unmatched else ""
    if wrong:
        name = wrong[0]
        example = f"no field of {config} gives {name} the shape {list(shapes[name])} instead of {list(built[name])}"
    return ShapeDeviations(len(unmatched) + len(wrong), {size for name in wrong for size in shapes[name]}, example)


def _shapes(model: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def filled(small: nn.Module, changes: Mapping[str, Any]) -> nn.Module:
    """Build a model of the same class from the configuration with changes, with the tensors of `small`."""
    built = skeleton(small, changes)
    built.load_state_dict(small.state_dict(), assign=True)
    buffers = dict(small.named_buffers())
    for name, buffer in list(built.named_buffers()):
        if buffer.is_meta and name in buffers:  # a buffer that is not part of the state
            path, _, key = name.rpartition(".")
            built.get_submodule(path)._buffers[key] = buffers[name]
    return built


def _computes_the_same(small: nn.Module, changes: Mapping[str, int], call: Call) -> bool:
    """Whether a model built with these changes computes the outputs of `small`, and `small` still does with them."""
    built = filled(small, changes)
    before = {path: lookup(small, path) for path in changes}
    try:
        expected = run_model(small, call)
        assign(small, {"": dict(changes)})
        return not difference(run_model(built, call), expected) and not difference(run_model(small, call), expected)
    except Exception:  # the model does not run, for example because a further field would have to change
        return False
    finally:
        assign(small, {"": before})
