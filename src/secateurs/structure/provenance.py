"""What units pass on their way: non-linearities, those made of several operators, gates, and sorting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from secateurs.structure.axis import Axis, walk
from secateurs.structure.dispatch import Site
from secateurs.structure.records import OUTPUT, Activation, Arrival, Passed, Seen, Source
from secateurs.structure.rules import ACTIVATIONS, AFFINE, MOVES, RELAYS, name_of

POSITIVE = {"aten::sigmoid", "aten::hardsigmoid", "aten::softplus"}
"""Non-linearities that are positive whatever they are given: as gates, they never close."""


def passing(
    func: torch._ops.OpOverload, site: Site, moving: Sequence[tuple[Sequence[Axis], Passed]], axes: Sequence[Axis]
) -> Passed:
    """What the result of an operator has passed.

    Args:
        func: the operator.
        site: where it runs.
        moving: the axes of those of its inputs that depend on the data, and what they have passed.
        axes: of its result.
    """
    name, out = name_of(func), Source(site, OUTPUT, tuple(axes))
    elementwise = torch.Tag.pointwise in func.tags or name in RELAYS or name in ACTIVATIONS
    made = {its.made for _, its in moving}
    origin = made.pop() if elementwise and len(made) == 1 else out
    if len(moving) == 1:
        its, passed = moving[0]
        if name in ACTIVATIONS:
            return Passed(Activation(Source(site, 0, tuple(its)), out, name not in POSITIVE), None, origin)
        return passed._replace(made=origin, layer=passed.layer if name in MOVES or name in AFFINE else None)
    if name == "aten::mul" and len(moving) == 2:
        return _multiplied(moving, out, origin)
    return Passed(made=origin)


def arriving(
    operator: str,
    site: Site,
    args: Sequence[object],
    look: Callable[[Tensor], Seen],
    axes: Sequence[Sequence[Axis]],
) -> Iterable[tuple[Site, Arrival]]:
    """The layers whose outputs meet other data in a sum, or a non-linearity, at this operator.

    Args:
        operator: its name.
        site: where it runs.
        args: what it is given.
        look: what is known of a tensor.
        axes: of its results.
    """
    into = operator in ACTIVATIONS
    if not into and operator not in ("aten::add", "aten::sub"):
        return
    known = [(slot, look(arg)) for slot, arg in enumerate(args) if isinstance(arg, Tensor)]
    moving = [(slot, its) for slot, its in known if not its.constant]
    summed = len({its.passed.made for _, its in moving}) == 2
    for slot, its in moving if into or summed else ():
        if its.passed.layer is not None:
            part = Source(site, slot, its.axes)
            yield its.passed.layer, Arrival(part, part if into else Source(site, OUTPUT, tuple(axes[0])))


def _multiplied(moving: Sequence[tuple[Sequence[Axis], Passed]], out: Source, origin: Source | None) -> Passed:
    """x · f(x) is one non-linearity; of x · f(y), f(y) is a gate."""
    (one, left), (other, right) = moving
    gates = [its.activation for its in (left, right) if its.activation]
    if left.made is not None and left.made is right.made and left.activation != right.activation:
        return Passed(Activation(left.made, out, True), None, origin)
    if len(gates) == 1 and gates[0].closes and list(map(walk, one)) == list(map(walk, other)):
        return Passed(None, gates[0], origin)
    return Passed(made=origin)


def order_of(
    operator: str, site: Site, inputs: Sequence[Tensor], seen: Sequence[Seen], pointed: Callable[[Tensor], Axis | None]
) -> Site | None:
    """Where the rows of an operator's results were sorted by expert; None once they are put back."""
    if operator == "aten::sort" and pointed(inputs[0]) is not None:
        return site
    orders = [its.order for its in seen]
    back = operator == "aten::index" and orders[0] is not None and orders[0] in orders[1:]
    return None if back else next((order for order in orders if order is not None), None)
