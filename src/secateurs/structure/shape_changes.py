"""Predict the shapes of the results of all operators after a cut, for verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from secateurs.structure.axis import leaves
from secateurs.structure.dispatch import Site
from secateurs.structure.indexing import size_of
from secateurs.structure.structure import Structure


class ShapeChange(NamedTuple):
    """The change of the results of one operator by a cut.

    Attributes:
        shapes: the shape of each result after the cut.
        dims: the (index of the result, dimension) pairs with a changed size.
        groups: the names of the groups that these sizes depend on.
    """

    shapes: Sequence[Sequence[int]]
    dims: Sequence[tuple[int, int]]
    groups: tuple[str, ...]


def shape_changes(structure: Structure, widths: Mapping[str, int]) -> dict[Site, ShapeChange]:
    """Predict the changes of all operator results whose sizes depend on the cut.

    Args:
        structure: the structure of the dense model.
        widths: group name to the number of kept units.

    Returns:
        Operator call to change, for the operators with changed sizes.

    Raises:
        PlanError: a group does not exist.
    """
    sizes = structure.by_variable(widths)
    names = {structure.group(name).var: name for name in widths}
    changes: dict[Site, ShapeChange] = {}
    for site, results in structure.resolved_results.items():
        shapes = [[size_of(axis, sizes) for axis in axes] for axes in results]
        dims = [
            (number, dim)
            for number, axes in enumerate(results)
            for dim, axis in enumerate(axes)
            if shapes[number][dim] != axis.size
        ]
        if dims:
            variables = dict.fromkeys(var for number, dim in dims for var in leaves(results[number][dim]))
            changes[site] = ShapeChange(shapes, dims, tuple(names[var] for var in variables if var in names))
    return changes
