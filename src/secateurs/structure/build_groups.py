"""From the axes that a trace left behind to groups with names, members and taps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import gcd, lcm, prod

import torch
from torch import nn

from secateurs.data import Call
from secateurs.structure.arguments import Arguments
from secateurs.structure.axis import Axis, Product, Var, leaves, resolver, walk
from secateurs.structure.contraction import Contraction
from secateurs.structure.dispatch import Site
from secateurs.structure.flow import Flow
from secateurs.structure.groups import Group, Member, Tap
from secateurs.structure.records import Activation, Passed, Source
from secateurs.structure.structure import Structure


def build(model: nn.Module, flow: Flow, call: Call, kinds: Sequence[str]) -> Structure:
    """Turn what `flow` recorded of a call into a structure, in which units of other kinds than these are frozen."""
    resolve = resolver()
    axes = {name: tuple(map(resolve, its)) for name, its in flow.home.items()}
    parameters = frozenset(flow.first_name[name] for name, _ in model.named_parameters())
    members = _members(flow, axes)
    batch = resolve(flow.batch)
    inputs = {name: tuple(map(resolve, its)) for name, its in flow.inputs.items()}
    arguments = Arguments(inputs, batch if isinstance(batch, Var) else None)
    taps, kind_of = _taps(flow, resolve, arguments), _kinds(flow, axes)
    least = {resolve(axis): number for axis, number in flow.least}
    multiples = _multiples(flow, resolve)
    groups: dict[str, Group] = {}
    frozen: dict[str, str] = {}
    for var, its in members.items():
        if not any(member.tensor in parameters for member in its) or var.frozen == "kernel tap":
            continue
        namesake = _namesake(its, axes)
        name = _name(namesake, var, axes, {*groups, *frozen})
        kind = kind_of(var, its)
        if var.frozen or kind not in kinds:
            frozen[name] = var.frozen or f"units of kind {kind!r} are kept unless trace(kinds=...) names them"
            continue
        bounds = least.get(var, 1), multiples[var]
        groups[name] = Group(name, kind, var.size, tuple(its), *taps(var, name), var.inexact, var, *bounds)
    macs = tuple(tuple(map(resolve, its)) for its in flow.macs)
    return Structure(
        groups=groups,
        frozen=frozen,
        axes=axes,
        parameters=parameters,
        contractions=tuple(_contractions(flow, axes, resolve, arguments)),
        tables=frozenset(flow.tables),
        macs=macs,
        other_macs=flow.counted_macs - sum(prod(axis.size for axis in its) for its in macs),
        inputs=call.to(torch.device("meta")),
        arguments=arguments,
        used=frozenset(flow.used),
        results=flow.results,
        sizes=tuple((use.module, use.name, resolve(use.axis)) for use in flow.sizes),
        splits=tuple((module, tuple(map(resolve, parts))) for module, parts in flow.splits),
    )


def _members(flow: Flow, axes: dict[str, tuple[Axis, ...]]) -> dict[Var, list[Member]]:
    """Where each variable lies, in the order in which the model uses the tensors."""
    first_names = dict.fromkeys(flow.first_name.values())
    members: dict[Var, list[Member]] = defaultdict(list)
    for name in {**flow.used, **first_names}:
        for dim, axis in enumerate(axes[name]):
            for var in dict.fromkeys(leaves(axis)):
                members[var].append(Member(name, dim, (name, dim) in flow.contracted))
    return members


def _multiples(flow: Flow, resolve: Callable[[Axis], Axis]) -> dict[Var, int]:
    """Of how many units the number of each variable must be a multiple."""
    found: dict[Var, int] = defaultdict(lambda: 1)
    for axis, number in ((resolve(axis), number) for axis, number in flow.multiples):
        for var in leaves(axis):
            beside = axis.size // var.size if isinstance(axis, Product) else 1
            found[var] = lcm(found[var], number // gcd(number, beside))
    return found


def _namesake(members: list[Member], axes: dict[str, tuple[Axis, ...]]) -> Member:
    """The member that a group is named after: the first weight that makes its units."""
    makers = [member for member in members if not member.consumed]
    matrices = [member for member in makers if len(axes[member.tensor]) > 1]
    weights = [member for member in matrices if member.tensor.endswith("weight")]
    return (weights or matrices or makers or members)[0]


def _name(member: Member, var: Var, axes: dict[str, tuple[Axis, ...]], taken: Iterable[str]) -> str:
    """The module's name; with an index where several variables share the dimension; the tensor's where it is taken."""
    module = member.tensor.rpartition(".")[0]
    together = list(dict.fromkeys(leaves(axes[member.tensor][member.dim])))
    index = f":{together.index(var)}" if len(together) > 1 else ""
    names = [] if member.consumed or not module else [module + index]
    names += [member.tensor + index] if not member.consumed else []
    return next(name for name in [*names, f"{member}{index}"] if name not in taken)


def _kinds(flow: Flow, axes: dict[str, tuple[Axis, ...]]) -> Callable[[Var, list[Member]], str]:
    """A function that finds the kind of a variable from what it is used for and what makes it."""
    heads = {var for axis in flow.heads for var in leaves(axis)}
    head_dims = {var for axis in flow.head_dims for var in leaves(axis)}
    experts = {var for axis in flow.experts for var in leaves(axis)}
    repeated = {walk(axis) for axis in flow.repeated}
    shared = {
        factor
        for its in axes.values()
        for axis in its
        if isinstance(axis, Product) and not repeated.isdisjoint(axis.factors)
        for factor in axis.factors
    }

    def kind(var: Var, members: list[Member]) -> str:
        if var in experts:
            return "expert"
        if var in heads:
            return "kv_group" if var in shared else "head"
        if var in head_dims:
            return "head_dim"
        made = {m.tensor for m in members if not m.consumed and len(axes[m.tensor]) > 1}
        if var.inexact and len(made) > 1:
            return "hidden"
        its = axes[_namesake(members, axes).tensor]
        stacked = any(leaf in experts for axis in its for leaf in leaves(axis))
        return "channel" if len(its) - stacked > 2 else "neuron"

    return kind


def _contractions(
    flow: Flow, axes: dict[str, tuple[Axis, ...]], resolve: Callable[[Axis], Axis], arguments: Arguments
) -> Iterable[Contraction]:
    """Where weights of linear layers, convolutions and experts sum over what can be seen together with the samples."""
    experts = {var for axis in flow.experts for var in leaves(axis)}
    for use in flow.consumptions:
        if use.weight is None:
            continue
        name, dim = use.weight
        its = tuple(map(resolve, use.operand.axes))
        convolution = use.operand.site.operator.startswith("aten::convolution")
        order = flow.orders.get(use.operand.site)
        stacked = len(axes[name]) == 3 and order is not None and axes[name][0] in experts
        if not _holds_samples(its, arguments.batch) or not (convolution or stacked or len(axes[name]) == 2):
            continue
        blocks = its[use.dim].size // axes[name][dim].size
        if convolution and dim == 0:  # transposed: the weight's first dimension holds the inputs of all groups
            blocks = flow.results[use.operand.site][0][1].size // axes[name][1].size
        source, axis = use.operand, its[use.dim]
        tap = Tap(f"weight {name!r}", source.site, source.slot, use.dim, its, None, arguments, order=order)
        arrival = None if stacked else _arrival(flow, axes[name][1 - dim], resolve, tap)
        contraction = Contraction(name, dim, tap, axis, blocks, convolution, use.window, arrival=arrival)
        for expert in range(axes[name][0].size if stacked else 0):
            yield replace(contraction, operand=replace(tap, expert=expert), expert=expert)
        if not stacked:
            yield contraction


def _arrival(flow: Flow, outputs: Axis, resolve: Callable[[Axis], Axis], operand: Tap) -> tuple[Tap, Tap] | None:
    """Where the outputs of the layer with this operand meet other data, and what becomes of them; see `Contraction`."""
    if operand.site not in flow.arrivals:
        return None
    part, whole = flow.arrivals[operand.site]
    taps: dict[Source, Tap] = {}
    for source in dict.fromkeys((part, whole)):
        axes = tuple(map(resolve, source.axes))
        if outputs not in axes or not _holds_samples(axes, operand.arguments.batch):
            return None
        order = flow.orders.get(source.site)
        taps[source] = replace(
            operand, site=source.site, slot=source.slot, dim=axes.index(outputs), axes=axes, order=order
        )
    return taps[part], taps[whole]


Taps = tuple[tuple[Tap, ...], tuple[Tap, ...], tuple[tuple[Tap, Tap], ...]]


def _taps(flow: Flow, resolve: Callable[[Axis], Axis], arguments: Arguments) -> Callable[[Var, str], Taps]:
    """A function that finds the taps of a variable, given the name of its group; see `Group`."""
    after: dict[Var, dict[Source, Passed]] = defaultdict(dict)
    through: dict[Var, list[Activation]] = defaultdict(list)
    tap = partial(_tap, arguments=arguments, orders=flow.orders, resolve=resolve)
    for activation in flow.activations:
        for axis in activation.after.axes:
            for var in leaves(axis):
                through[var].append(activation)
    for use in flow.consumptions:
        activation = use.passed.activation
        for var in leaves(use.axis):
            if activation and tap(activation.after, var):
                after[var][activation.after] = use.passed
            else:
                attended = use.passed.attended
                around = attended and Activation(attended, use.operand, True)
                after[var][use.operand] = use.passed._replace(activation=around)
    made = [*(activation.after for activation in flow.activations), *flow.produced]

    def find(var: Var, name: str) -> Taps:
        found: dict[Source, Tap | None] = {}

        def at(source: Source) -> Tap | None:
            if source not in found:
                found[source] = tap(source, var, name)
            return found[source]

        sources = {source: passed for source, passed in after[var].items() if at(source)}
        sources = sources or {source: Passed() for source in [source for source in made if at(source)][:1]}
        fired = ((passed.gate and at(passed.gate.after)) or at(source) for source, passed in sources.items())
        used = [passed.activation for passed in after[var].values() if passed.activation]
        around = [(at(activation.before), at(activation.after)) for activation in used or through[var]]
        pairs = tuple((one, other) for one, other in dict.fromkeys(around) if one and other)
        return tuple(t for source in sources if (t := at(source))), tuple(t for t in fired if t), pairs

    return find


def _tap(
    source: Source,
    var: Var,
    name: str = "",
    *,
    arguments: Arguments,
    orders: Mapping[Site, Site],
    resolve: Callable[[Axis], Axis],
) -> Tap | None:
    """Where `var` lies in a tensor that also holds the samples."""
    axes = tuple(map(resolve, source.axes))
    dim = next((dim for dim, axis in enumerate(axes) if var in leaves(axis)), None)
    if dim is None or not _holds_samples(axes, arguments.batch):
        return None
    order = orders.get(source.site)
    return Tap(f"group {name!r}", source.site, source.slot, dim, axes, var, arguments, order=order)


def _holds_samples(axes: Sequence[Axis], batch: Var | None) -> bool:
    return batch is None or any(batch in (axis.factors if isinstance(axis, Product) else (axis,)) for axis in axes)
