"""Track the provenance of data: activations, gates, layers, and sorting by expert."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from secateurs.structure.axis import Axis, walk
from secateurs.structure.dispatch import Site
from secateurs.structure.records import OUTPUT, Activation, Arrival, Provenance, Source
from secateurs.structure.rules import operator_name, rule_of
from secateurs.structure.tensor_table import TensorInfo


def provenance_of(
    func: torch._ops.OpOverload,
    site: Site,
    moving: Sequence[tuple[Sequence[Axis], Provenance]],
    axes: Sequence[Axis],
) -> Provenance:
    """Determine the provenance of the first result of an operator.

    Args:
        func: the operator.
        site: the operator call.
        moving: axes and provenance of each argument that depends on the data.
        axes: the axes of the result.
    """
    rule, result = rule_of(func), Source(site, OUTPUT, tuple(axes))
    elementwise = torch.Tag.pointwise in func.tags or rule.kind == "layout" or rule.is_activation
    origins = {provenance.origin for _, provenance in moving}
    origin = origins.pop() if elementwise and len(origins) == 1 else result
    if len(moving) == 1:
        argument_axes, provenance = moving[0]
        if rule.is_activation:
            before = Source(site, 0, tuple(argument_axes))
            return Provenance(Activation(before, result, rule.kind != "positive_activation"), None, origin)
        scaled = rule.moves_values or rule.kind == "affine"
        return provenance._replace(origin=origin, layer=provenance.layer if scaled else None)
    if operator_name(func) == "aten::mul" and len(moving) == 2:
        return _product(moving, result, origin)
    return Provenance(origin=origin)


def arrivals_at(
    func: torch._ops.OpOverload,
    site: Site,
    args: Sequence[object],
    info_of: Callable[[Tensor], TensorInfo],
    axes: Sequence[Sequence[Axis]],
) -> Iterable[tuple[Site, Arrival]]:
    """Find the layers whose outputs are added to other data, or enter an activation, in this operator call.

    Args:
        func: the operator.
        site: the operator call.
        args: the positional arguments.
        info_of: maps a tensor to its information.
        axes: the axes of each result.

    Yields:
        The site of the layer, and the arrival of its outputs.
    """
    activation = rule_of(func).is_activation
    if not activation and operator_name(func) not in ("aten::add", "aten::sub"):
        return
    known = [(slot, info_of(arg)) for slot, arg in enumerate(args) if isinstance(arg, Tensor)]
    moving = [(slot, info) for slot, info in known if not info.constant]
    summed = len({info.provenance.origin for _, info in moving}) == 2
    for slot, info in moving if activation or summed else ():
        if info.provenance.layer is not None:
            part = Source(site, slot, info.axes)
            whole = part if activation else Source(site, OUTPUT, tuple(axes[0]))
            yield info.provenance.layer, Arrival(part, whole)


def sort_of(
    func: torch._ops.OpOverload,
    site: Site,
    inputs: Sequence[Tensor],
    infos: Sequence[TensorInfo],
    indexes_axis: Callable[[Tensor], Axis | None],
) -> Site | None:
    """Find the sort that put the rows of the results into the order of experts; None if the rows are not sorted.

    Args:
        func: the operator.
        site: the operator call.
        inputs: the tensors among the arguments.
        infos: the information of each tensor.
        indexes_axis: maps a tensor to the axis that its values are indices of.
    """
    operator = operator_name(func)
    if operator == "aten::sort" and indexes_axis(inputs[0]) is not None:
        return site
    sorts = [info.sorted_at for info in infos]
    if operator == "aten::index" and sorts[0] is not None and sorts[0] in sorts[1:]:
        return None
    return next((sort for sort in sorts if sort is not None), None)


def _product(moving: Sequence[tuple[Sequence[Axis], Provenance]], result: Source, origin: Source | None) -> Provenance:
    """The provenance of a product: x · f(x) is one activation, and in x · f(y) the factor f(y) is a gate."""
    (left_axes, left), (right_axes, right) = moving
    gates = [provenance.activation for provenance in (left, right) if provenance.activation]
    if left.origin is not None and left.origin is right.origin and left.activation != right.activation:
        return Provenance(Activation(left.origin, result, True), None, origin)
    aligned = list(map(walk, left_axes)) == list(map(walk, right_axes))
    if len(gates) == 1 and gates[0].can_close and aligned:
        return Provenance(None, gates[0], origin)
    return Provenance(origin=origin)
