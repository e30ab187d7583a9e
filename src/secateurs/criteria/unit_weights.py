"""Arrange the entries of weights by the units of a group: tensors [units, entries per unit]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from secateurs.criteria.weight_view import Entries, Sources, Weight
from secateurs.errors import UnscorableError
from secateurs.structure import Group, Member, take_units

WeightOf = Callable[[str], Weight]
"""Maps the name of a parameter to the `Weight` that criteria see."""


def entries_of_units(
    group: Group, sources: Sources, weight_of: WeightOf, score: Entries, consumed: bool | None, vectors: bool
) -> list[Tensor]:
    """Score the entries of the weights that produce or use the units; see `Evidence.entries`.

    Args:
        group: the group of units.
        sources: the tensors of the model.
        weight_of: maps the name of a parameter to the `Weight` that `score` gets.
        score: see `Evidence.entries`.
        consumed: see `Evidence.entries`.
        vectors: see `Evidence.entries`.

    Returns:
        One tensor [units, entries per unit] for each weight.

    Raises:
        UnscorableError: the group has no such weight.
    """
    members = [
        member
        for member in group.members
        if member.tensor in sources.structure.parameters
        and (vectors or sources.tensors[member.tensor].ndim > 1)
        and (consumed is None or member.consumed == consumed)
    ]
    if not members:
        roles = {None: "produces or uses", True: "uses", False: "produces"}
        raise UnscorableError(f"no weight {roles[consumed]} the units")
    layers: list[list[Tensor]] = []
    last_producer: list[Tensor] = []  # the scores of the last weight that produces the units, and of later vectors
    for member in members:
        scores = _by_unit(group, sources, member, score(weight_of(member.tensor)))
        if sources.tensors[member.tensor].ndim == 1 and last_producer:
            last_producer.append(scores)
        else:
            layers.append([scores])
            last_producer = last_producer if member.consumed else layers[-1]
    return [torch.cat(parts, 1) for parts in layers]


def scales_of_units(group: Group, sources: Sources, weight_of: WeightOf) -> list[Tensor]:
    """List the scales of each normalisation of the units; see `Evidence.scales`.

    Args:
        group: the group of units.
        sources: the tensors of the model, and the names of the normalisations.
        weight_of: maps the name of a parameter to a `Weight`.

    Returns:
        One tensor [units] for each normalisation.

    Raises:
        UnscorableError: no normalisation scales the units.
    """
    members = [m for m in group.members if m.tensor.rpartition(".")[0] in sources.norms]
    members = [m for m in members if m.tensor.endswith("weight")]
    if not members:
        raise UnscorableError("no normalisation scales the units")
    return [_by_unit(group, sources, member, weight_of(member.tensor).value).mean(1) for member in members]


def _by_unit(group: Group, sources: Sources, member: Member, tensor: Tensor) -> Tensor:
    """Arrange a tensor, which has the shape of the parameter of the member, as [units, entries per unit]."""
    axis = sources.structure.axes[member.tensor][member.dim]
    return take_units(tensor, member.dim, axis, group.var).movedim(member.dim, 0).flatten(1)
