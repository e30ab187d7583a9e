"""Supported widths: those of uniform groups that the configuration of a model can describe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from torch import nn

from secateurs.structure import Structure
from secateurs.surgery.config import expected_shapes, fit_config, has_config, shape_deviations, skeleton
from secateurs.surgery.stale_attributes import lookup


def supported_widths(model: nn.Module, structure: Structure) -> Callable[[tuple[str, ...], int], bool]:
    """Return the test whether the class of a model builds the groups of a role with a width from its configuration.

    Args:
        model: the dense model; it may be cut later.
        structure: of the model.

    Returns:
        A function of the names of all groups of a role and a width, all other groups being whole. It is always true if
        the model has no configuration, or a configuration that describes no other width of these groups: then no width
        is better than another.
    """
    if not has_config(model) or shape_deviations(model, {}).number:
        return lambda groups, width: True
    bare = skeleton(model, {})

    examples = cache(lambda groups: example_width(bare, structure, groups))

    @cache
    def is_supported(groups: tuple[str, ...], width: int) -> bool:
        size, example = structure.group(groups[0]).size, examples(groups)
        if example is None or width == size:
            return True
        # A size grows by the same number with every unit, so the fields at one width give those at all others.
        at, fields = example
        changes = {path: _extrapolate(lookup(bare, path), size, value, at, width) for path, value in fields.items()}
        widths = dict.fromkeys(groups, width)
        deviations = shape_deviations(bare, changes, expected_shapes(bare, structure, widths)).number
        return deviations == 0 or (deviations < float("inf") and not fit_config(bare, structure, widths).failure)

    return is_supported


def example_width(model: nn.Module, structure: Structure, groups: Sequence[str]) -> tuple[int, dict[str, int]] | None:
    """A width of the groups of a role that the class of a model builds, with the fields for it; None if there is none.

    A half, a quarter and so on are tried, down to one unit: a class that refuses all of these supports no width.
    """
    width = structure.group(groups[0]).size
    while width > 1:
        width //= 2
        changes, failure = fit_config(model, structure, dict.fromkeys(groups, width))
        if not failure:
            return width, changes
    return None


def _extrapolate(dense: int | None, size: int, value: int, at: int, width: int) -> int:
    """The value of a field at a width, from its values for the dense model (None if unset) and at another width."""
    return value * width // at if dense is None else dense - (dense - value) * (size - width) // (size - at)
