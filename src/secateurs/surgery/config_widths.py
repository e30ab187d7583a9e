"""Which widths a class takes: where groups alike get the same one, a configuration should be able to tell it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from torch import nn

from secateurs.structure import Structure
from secateurs.surgery.config import fit_config, has_config, shape_deviations, shaped, skeleton
from secateurs.surgery.stale_attributes import lookup


def supported_widths(model: nn.Module, structure: Structure) -> Callable[[tuple[str, ...], int], bool]:
    """Whether the class of a model builds groups alike with a certain width, from its configuration.

    Args:
        model: dense; it may be cut later.
        structure: of the model.

    Returns:
        Says it of the names of all groups alike and a width, the other groups being whole. Where there is no
        configuration, or it can tell no width of these groups but their own, it says yes to all: none is better then.
    """
    if not has_config(model) or shape_deviations(model, {}).number:
        return lambda groups, width: True
    bare = skeleton(model, {})

    known = cache(lambda groups: example_width(bare, structure, groups))

    @cache
    def takes(groups: tuple[str, ...], width: int) -> bool:
        size, one = structure.group(groups[0]).size, known(groups)
        if one is None or width == size:
            return True
        # A size grows by the same number with every unit, so one width tells the fields for all others.
        changes = {path: _along(lookup(bare, path), size, value, one[0], width) for path, value in one[1].items()}
        widths = dict.fromkeys(groups, width)
        wrong = shape_deviations(bare, changes, shaped(bare, structure, widths)).number
        return wrong == 0 or (wrong < float("inf") and not fit_config(bare, structure, widths).failure)

    return takes


def example_width(model: nn.Module, structure: Structure, groups: Sequence[str]) -> tuple[int, dict[str, int]] | None:
    """A width of groups alike that a model's class builds, and the fields that say so; None if there is none.

    A half, a quarter and so on are tried, down to one unit: if a class refuses all of these, it takes none.
    """
    width = structure.group(groups[0]).size
    while width > 1:
        width //= 2
        changes, failure = fit_config(model, structure, dict.fromkeys(groups, width))
        if not failure:
            return width, changes
    return None


def _along(dense: int | None, size: int, value: int, at: int, width: int) -> int:
    """A field's value at some width, from its values for the dense model (None if left open) and at another width."""
    return value * width // at if dense is None else dense - (dense - value) * (size - width) // (size - at)
