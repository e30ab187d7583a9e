"""The shapes of every operator's results after a cut, for verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from secateurs.structure.axis import leaves
from secateurs.structure.dispatch import Site
from secateurs.structure.indexing import size_of
from secateurs.structure.structure import Structure


class ShapeChange(NamedTuple):
    """What a cut changes of the results of one operator.

    Attributes:
        shapes: the shape of each result after the cut.
        dims: the (result, dimension) pairs whose sizes change.
        groups: the names of the groups that these sizes depend on.
    """

    shapes: Sequence[Sequence[int]]
    dims: Sequence[tuple[int, int]]
    groups: tuple[str, ...]


def shape_changes(structure: Structure, widths: Mapping[str, int]) -> dict[Site, ShapeChange]:
    """The changes of all operators whose results get other sizes when groups have these widths.

    Args:
        structure: the structure of the dense model.
        widths: the number of units left, per group name.

    Raises:
        PlanError: a name is not that of a group.
    """
    left = structure.by_variable(widths)
    names = {structure.group(name).var: name for name in widths}
    changes: dict[Site, ShapeChange] = {}
    for site, results in structure.resolved_results.items():
        shapes = [[size_of(axis, left) for axis in axes] for axes in results]
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
