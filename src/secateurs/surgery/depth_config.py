"""Configurations of Hugging Face's kind follow when layers go: their number, and what is listed layer by layer."""

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
"""In the names of fields that list something for each layer. Others, such as sizes of an image, may be as long."""


def depth_changes(
    small: nn.Module, lists: Mapping[str, KeptModules], right: Callable[[nn.Module], bool]
) -> dict[str, int | list[Any]]:
    """New values of the fields of `small.config`, with which its class builds a model of as many layers.

    A field is tried if it is the number of modules that a list held, or lists something for each of them; numbers are
    kept with which the class has the parameters of `small`.

    Args:
        small: the model without some layers.
        lists: the lists that they were in.
        right: whether a model that the class built, with the weights of `small`, computes what it should.

    Returns:
        Dotted attribute to value, such as "config.num_hidden_layers". Empty if the model has no configuration, or if
        none describes it.
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
            wrong = shape_deviations(small, changes).number
            for path, new in numbers:
                left = shape_deviations(small, {**changes, path: new}).number
                if left < wrong:
                    changes, wrong = {**changes, path: new}, left
            if changes and not wrong and _runs(small, changes, right):
                return changes
    return {}


def _runs(small: nn.Module, changes: Mapping[str, Any], right: Callable[[nn.Module], bool]) -> bool:
    try:
        return right(filled(small, changes))
    except Exception:  # a library's class may raise anything
        return False


def adopt_config(small: nn.Module, changes: Mapping[str, Any]) -> None:
    """Give every module of a model the configuration that it has where its class builds it with these changes."""
    if not changes:
        return
    assign(small, {"": dict(changes)})
    with rng():
        built = dict(filled(small, {}).named_modules())
    for name, module in small.named_modules():
        if name and ROOT in vars(module):
            setattr(module, ROOT, getattr(built[name], ROOT))
