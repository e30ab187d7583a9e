"""Find the widths of uniform groups that the configuration of a model can describe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from torch import nn

from secateurs.structure import Structure
from secateurs.surgery.config import expected_shapes, fit_config, has_config, shape_deviations, skeleton
from secateurs.surgery.stale_attributes import lookup


def supported_widths(model: nn.Module, structure: Structure) -> Callable[[tuple[str, ...], int], bool]:
    """Create a test of whether the class of a model can build the groups of a role with a width.

    Args:
        model: the dense model; later cuts do not affect the test.
        structure: of the model.

    Returns:
        A function from the names of all groups of a role and a width to bool, for models whose other groups have all
        units. It always returns True if the model has no configuration, or if the configuration can describe no other
        width of these groups, because then no width is better than another.
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
        # Sizes are linear in the number of units, so the fields for one width determine the fields for all widths.
        known_width, fields = example
        changes = {
            path: _extrapolate(lookup(bare, path), size, value, known_width, width) for path, value in fields.items()
        }
        widths = dict.fromkeys(groups, width)
        deviations = shape_deviations(bare, changes, expected_shapes(bare, structure, widths)).number
        return deviations == 0 or (deviations < float("inf") and not fit_config(bare, structure, widths).failure)

    return is_supported


def example_width(model: nn.Module, structure: Structure, groups: Sequence[str]) -> tuple[int, dict[str, int]] | None:
    """Find one supported width of the groups of a role.

    Half of the units, a quarter and so on are tried, down to one unit. If all fail, no width counts as supported.

    Args:
        model: the dense model, or the same model without weights.
        structure: of the model.
        groups: the names of the groups of the role.

    Returns:
        The width and the changes of the configuration, or None.
    """
    width = structure.group(groups[0]).size
    while width > 1:
        width //= 2
        changes, failure = fit_config(model, structure, dict.fromkeys(groups, width))
        if not failure:
            return width, changes
    return None


def _extrapolate(dense: int | None, size: int, value: int, known_width: int, width: int) -> int:
    """The value of a field for a width, from the values for all units (None if unset) and for a known width."""
    if dense is None:
        return value * width // known_width
    return dense - (dense - value) * (size - width) // (size - known_width)
