"""`trace`: run a model once and find out which slices of which tensors must go together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from secateurs.data import Call, as_call
from secateurs.errors import DataError, ModelError, NoMatchError, TraceError
from secateurs.huggingface import add_decoder_inputs
from secateurs.structure import axis as ax
from secateurs.structure.build_groups import build
from secateurs.structure.flow import Flow
from secateurs.structure.kinds import parse
from secateurs.structure.structure import Structure
from secateurs.structure.tracer import Tracer
from secateurs.utils import device_of, evaluating, named_tensors, refuse_quantised


def trace(
    model: nn.Module, example_inputs: Any, keep: Sequence[str] = (), kinds: Sequence[str] | str | None = None
) -> Structure:
    """Find the groups of units that can be removed from a model.

    The model is run once on the example inputs, in evaluation mode and without gradients; it is not changed.

    Args:
        model: any module.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        keep: names or patterns (`*`, `?`, `[...]`) of modules or parameters whose units stay. A module's name stands
            for all that is inside it. What such a module takes in may still shrink.
        kinds: which kinds of units may go (see `secateurs.structure.kinds`); by default all but "hidden", the width of
            a normalised residual stream, and "head_dim", the size of attention's heads. "all" takes those too.

    Returns:
        The structure: `groups`, and what is `frozen`, with the reason.

    Raises:
        ModelError: `model` is not a module, has no parameters, or is quantised.
        NoMatchError: an entry of `keep` matches nothing, or one of `kinds` is no kind.
        TraceError: the model does not run on the inputs, or its outputs cannot be looked into.
    """
    device = device_of(model)
    refuse_quantised(model)
    if next(model.parameters(), None) is None:
        raise ModelError(f"{type(model).__name__} has no parameters, so there is nothing to prune")
    if any(is_lazy(tensor) for tensor in [*model.parameters(), *model.buffers()]):
        raise ModelError(f"{type(model).__name__} has lazy modules; run it once on real inputs first")
    wanted = parse(kinds)
    kept = matching(model, [keep] if isinstance(keep, str) else keep)
    call = add_decoder_inputs(model, as_call(example_inputs))
    flow = _run(model, call, device)
    for name, axes in flow.home.items():
        first = flow.first_name[name]
        if first not in flow.used:
            flow.freeze(axes, "not used in the forward pass")
        for dim, axis in enumerate(axes):
            if name in kept and (first, dim) not in flow.contracted:
                ax.freeze(axis, f"kept: {kept[name]!r}")
    _freeze_repetitions(flow)
    _freeze_competitors(flow)
    return build(model, flow, call, wanted)


def _run(model: nn.Module, given: Call, device: torch.device) -> Flow:
    """One forward pass with axes flowing."""
    flow, call = Tracer(model), given.to(device).copy()
    for tensor, value in zip(call.tensors(), given.tensors(), strict=True):
        flow.values.know(tensor, value)
    try:
        samples = call.samples()
    except DataError:  # only observing needs to know, and asks again
        samples = 1
    flow.enter(call.tensors(), samples)
    flow.inputs = {name: flow.axes(tensor) for name, tensor in call.named(model).items()}
    with evaluating(model):
        try:
            with flow:
                output = call.run(model)
        except Exception as error:
            raise TraceError(f"the model does not run on the example inputs ({call.describe()}): {error}") from error
    outputs = list(outputs_of(output))
    if not outputs:
        raise TraceError(
            f"the model returns no tensor but a {type(output).__name__}, so what it computes cannot be seen; "
            "wrap it in a module that returns its result"
        )
    for tensor in outputs:
        flow.freeze(flow.axes(tensor), "model output")
    return flow


def _freeze_repetitions(flow: Flow) -> None:
    """Freeze how often something is repeated, as the key/value heads of grouped-query attention are.

    A repetition that is a whole dimension of some tensor (a gate expanded over channels) follows that dimension.
    """
    whole = {ax.walk(axis) for axes in flow.home.values() for axis in axes}
    for axis in flow.repeated:
        if ax.walk(axis) not in whole:
            ax.freeze(axis, "number of repetitions")


def _freeze_competitors(flow: Flow) -> None:
    """Freeze units that compete with each other; experts may do so without one, though not with the same result."""
    experts = {var for axis in flow.experts for var in ax.leaves(axis)}
    for var in {var for axes in flow.home.values() for axis in axes for var in ax.leaves(axis)}:
        if var.competing and var in experts:
            ax.mark_inexact(var, f"the router chooses among these units ({var.competing})")
        elif var.competing or var in experts:
            ax.freeze(var, var.competing or "which expert a row goes to depends on the data")


def outputs_of(output: Any) -> Iterable[Tensor]:
    """Every tensor in a model's output, through the containers that pytree knows, dataclasses and mappings.

    A cache of keys and values (of transformers) is no output: it serves the model's own next call.
    """
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            yield leaf
        elif dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            yield from outputs_of([getattr(leaf, field.name) for field in dataclasses.fields(leaf)])
        elif isinstance(leaf, Mapping):
            yield from outputs_of(list(leaf.values()))
        elif leaf is not None and not isinstance(leaf, (bool, int, float, complex, str)) and not _is_cache(leaf):
            raise TraceError(
                f"the model's output holds a {type(leaf).__name__}, in which tensors cannot be looked for; "
                "wrap the model so that it returns tensors, tuples, lists, dicts or dataclasses of them"
            )


def _is_cache(value: Any) -> bool:
    return any(kind.__name__ == "Cache" and kind.__module__.startswith("transformers") for kind in type(value).__mro__)


def matching(model: nn.Module, patterns: Sequence[str]) -> dict[str, str]:
    """Each parameter and buffer that a pattern keeps, with the pattern."""
    modules = [name for name, _ in model.named_modules() if name]
    tensors = [name for name, _ in named_tensors(model)]
    kept: dict[str, str] = {}
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise NoMatchError(f"keep: {pattern!r} is not a name or pattern")
        inside = tuple(f"{name}." for name in modules if fnmatchcase(name, pattern))
        found = [name for name in tensors if fnmatchcase(name, pattern) or name.startswith(inside)]
        if not inside and not found:
            raise NoMatchError(
                f"keep: {pattern!r} matches no module or parameter of {type(model).__name__}; "
                f"its modules are: {', '.join(modules[:20])}{' ...' if len(modules) > 20 else ''}"
            )
        kept.update((name, pattern) for name in found if name not in kept)
    return kept
