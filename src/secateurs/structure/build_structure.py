"""Build a structure from a finished trace: groups with names and kinds, frozen axes, and the terms of the cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from math import gcd, lcm

import torch
from torch import nn

from secateurs.data import Call
from secateurs.structure.axis import Axis, Product, Var, leaves
from secateurs.structure.find_contractions import find_contractions
from secateurs.structure.find_taps import appearances_by_variable, taps_of
from secateurs.structure.groups import Group, Member
from secateurs.structure.kinds import attention_roles, kind_of
from secateurs.structure.resolved_trace import ResolvedTrace, resolve_trace
from secateurs.structure.structure import Structure
from secateurs.structure.trace_record import TraceRecord

Axes = Mapping[str, Sequence[Axis]]


def build_structure(model: nn.Module, record: TraceRecord, call: Call, kinds: Sequence[str]) -> Structure:
    """Build the structure.

    Args:
        model: the traced model.
        record: the record of the trace.
        call: the example inputs.
        kinds: the kinds of units that may be removed; units of all other kinds are frozen.
    """
    trace = resolve_trace(record)
    parameters = frozenset(record.first_names[name] for name, _ in model.named_parameters())
    groups, frozen = _groups(trace, parameters, kinds)
    return Structure(
        groups=groups,
        frozen=frozen,
        axes=trace.axes,
        parameters=parameters,
        contractions=tuple(find_contractions(trace)),
        tables=frozenset(record.tables),
        macs=tuple(map(trace.resolved, record.macs)),
        other_macs=record.other_macs,
        inputs=call.to(torch.device("meta")),
        arguments=trace.arguments,
        used=frozenset(record.used),
        results=record.results,
        sizes=tuple((use.module, use.name, trace.resolve(use.axis)) for use in record.sizes),
        splits=tuple((module, trace.resolved(parts)) for module, parts in record.splits),
    )


def _groups(
    trace: ResolvedTrace, parameters: Collection[str], kinds: Sequence[str]
) -> tuple[dict[str, Group], dict[str, str]]:
    """The groups, by name; and the reason for each axis of parameters that is frozen, by name."""
    record, axes = trace.record, trace.axes
    roles, appearances = attention_roles(record, axes), appearances_by_variable(trace)
    minimums = {trace.resolve(axis): number for axis, number in record.minimums}
    multiples = _multiples(trace)
    groups: dict[str, Group] = {}
    frozen: dict[str, str] = {}
    for var, members in _members(trace).items():
        if not any(member.tensor in parameters for member in members) or var.frozen == "kernel tap":
            continue
        namesake = _namesake(members, axes)
        name = _name(namesake, var, axes, {*groups, *frozen})
        producers = {m.tensor for m in members if not m.consumed and len(axes[m.tensor]) > 1}
        kind = kind_of(var, axes[namesake.tensor], len(producers), roles, trace.experts)
        if var.frozen or kind not in kinds:
            frozen[name] = var.frozen or f"units of kind {kind!r} are kept; add the kind to trace(kinds=...)"
            continue
        taps = taps_of(trace, var, name, appearances[var])
        least, multiple = minimums.get(var, 1), multiples[var]
        groups[name] = Group(name, kind, var.size, tuple(members), *taps, var.inexact, var, least, multiple)
    return groups, frozen


def _members(trace: ResolvedTrace) -> dict[Var, list[Member]]:
    """The dimensions of tensors that hold each variable, in the order in which the model uses the tensors."""
    first_names = dict.fromkeys(trace.record.first_names.values())
    members: dict[Var, list[Member]] = defaultdict(list)
    for name in {**trace.record.used, **first_names}:
        for dim, axis in enumerate(trace.axes[name]):
            for var in dict.fromkeys(leaves(axis)):
                members[var].append(Member(name, dim, (name, dim) in trace.record.contracted))
    return members


def _multiples(trace: ResolvedTrace) -> dict[Var, int]:
    """Variable to the number that its size must be a multiple of."""
    multiples: dict[Var, int] = defaultdict(lambda: 1)
    for axis, number in trace.record.multiples:
        resolved = trace.resolve(axis)
        for var in leaves(resolved):
            other_factors = resolved.size // var.size if isinstance(resolved, Product) else 1
            multiples[var] = lcm(multiples[var], number // gcd(number, other_factors))
    return multiples


def _namesake(members: list[Member], axes: Axes) -> Member:
    """The member that gives the name of a group: the first weight that produces the units."""
    producers = [member for member in members if not member.consumed]
    matrices = [member for member in producers if len(axes[member.tensor]) > 1]
    weights = [member for member in matrices if member.tensor.endswith("weight")]
    return (weights or matrices or producers or members)[0]


def _name(member: Member, var: Var, axes: Axes, taken: Collection[str]) -> str:
    """The name of the module, or of the tensor if the first is taken; with an index if variables share the axis."""
    module = member.tensor.rpartition(".")[0]
    variables = list(dict.fromkeys(leaves(axes[member.tensor][member.dim])))
    index = f":{variables.index(var)}" if len(variables) > 1 else ""
    names = [] if member.consumed or not module else [module + index]
    names += [member.tensor + index] if not member.consumed else []
    return next(name for name in [*names, f"{member}{index}"] if name not in taken)
