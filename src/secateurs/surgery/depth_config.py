"""Update Hugging Face configurations of models without some layers: numbers of layers, and lists of one item each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from secateurs.surgery.config import ROOT, fields, filled, has_config, shape_deviations
from secateurs.surgery.layer_lists import KeptModules
from secateurs.surgery.stale_attributes import assign
from secateurs.utils import rng

LISTED = re.compile("layer|block")
"""Matches the names of fields with one item per layer. Other lists of the same length, such as image sizes, differ."""


def depth_changes(
    small: nn.Module, lists: Mapping[str, KeptModules], is_correct: Callable[[nn.Module], bool]
) -> dict[str, int | list[Any]]:
    """Find the changes of `small.config` with which the class builds a model without the removed layers.

    The candidates are fields with the original number of modules of a list, and lists with one item per module. A
    number is accepted if the class then builds a model with fewer deviations from the tensors of `small`.

    Args:
        small: the model without some layers.
        lists: the name of each list of layers to the original number and the kept indices of its modules.
        is_correct: tests whether a model built by the class, with the weights of `small`, computes the expected
            outputs.

    Returns:
        Dotted attribute to new value, such as "config.num_hidden_layers". Empty if the model has no configuration, or
        if no configuration describes the model.
    """
    if not has_config(small):
        return {}
    numbers: list[tuple[str, int]] = []
    listed: dict[str, list[Any]] = {}
    for path, value in fields(getattr(small, ROOT), ROOT):
        for total, indices in lists.values():
            if type(value) is int and value == total:
                numbers.append((path, len(indices)))
            elif isinstance(value, (list, tuple)) and len(value) == total and LISTED.search(path):
                listed[path] = [value[index] for index in indices]
    with rng():
        for start in ({**listed}, {}):
            changes: dict[str, Any] = start
            deviations = shape_deviations(small, changes).number
            for path, new in numbers:
                fewer = shape_deviations(small, {**changes, path: new}).number
                if fewer < deviations:
                    changes, deviations = {**changes, path: new}, fewer
            if changes and not deviations and _builds_correctly(small, changes, is_correct):
                return changes
    return {}


def _builds_correctly(small: nn.Module, changes: Mapping[str, Any], is_correct: Callable[[nn.Module], bool]) -> bool:
    """Whether the class builds a correct model from the configuration with changes."""
    try:
        return is_correct(filled(small, changes))
    except Exception:  # a library's class may raise anything
        return False


def adopt_config(small: nn.Module, changes: Mapping[str, Any]) -> None:
    """Change the configuration of a model and of all modules inside it, as if the class had built the model.

    Args:
        small: the model without some layers; changed in place.
        changes: from `depth_changes`.
    """
    if not changes:
        return
    assign(small, {"": dict(changes)})
    with rng():
        built = dict(filled(small, {}).named_modules())
    for name, module in small.named_modules():
        if name and ROOT in vars(module):
            setattr(module, ROOT, getattr(built[name], ROOT))
