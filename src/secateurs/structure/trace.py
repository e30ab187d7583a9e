"""Run a model once and find the slices of tensors that must be removed together (`trace`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from secateurs.data import Call, as_call
from secateurs.errors import ModelError, TraceError
from secateurs.huggingface import add_decoder_inputs
from secateurs.structure import axis as ax
from secateurs.structure.build_structure import build_structure
from secateurs.structure.forward_pass import freeze_outputs, run_traced
from secateurs.structure.kinds import parse_kinds
from secateurs.structure.model_outputs import outputs_of
from secateurs.structure.name_patterns import matching
from secateurs.structure.other_paths import add_training_path, freeze_for_unreached_modules
from secateurs.structure.structure import Structure
from secateurs.structure.trace_record import TraceRecord
from secateurs.utils import device_of, refuse_compiled, refuse_quantized


def trace(
    model: nn.Module, example_inputs: Any, keep: Sequence[str] = (), kinds: Sequence[str] | str | None = None
) -> Structure:
    """Find the groups of units that can be removed from a model.

    The model runs once on the example inputs, in evaluation mode and without gradients; it is not changed. A model on
    the meta device can be traced without weights.

    Args:
        model: any module.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments. Give two or more
            samples of the usual size, so that samples and positions can be distinguished.
        keep: names or patterns (`*`, `?`, `[...]`) of modules or parameters that keep all units. The name of a module
            includes all modules and parameters inside it. The inputs of such a module may still shrink.
        kinds: the kinds of units that may be removed: "channel", "neuron", "head", "kv_group", "expert", "hidden" (the
            width of a normalised residual stream) and "head_dim" (the size of attention heads); or "all". None means
            all kinds except "hidden" and "head_dim".

    Returns:
        The structure. `groups` are the groups that can be pruned; `frozen` gives reasons for all other axes.

    Raises:
        ModelError: `model` is not a module, has no parameters or lazy ones, or is quantized, compiled or
            scripted.
        NoMatchError: an entry of `keep` matches nothing, or an entry of `kinds` is not a kind.
        TraceError: the model does not run on the inputs, or its outputs cannot be searched for tensors.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> structure = sc.trace(net, torch.randn(3, 4))
        >>> structure.groups["0"].size, structure.groups["0"].kind
        (8, 'neuron')
        >>> structure.frozen
        {'0.weight[1]': 'model input', '2': 'model output'}
    """
    device_of(model)  # checks that it is a module
    refuse_quantized(model)
    refuse_compiled(model)
    if next(model.parameters(), None) is None:
        raise ModelError(f"{type(model).__name__} has no parameters, so there is nothing to prune")
    if any(is_lazy(tensor) for tensor in [*model.parameters(), *model.buffers()]):
        raise ModelError(
            f"{type(model).__name__} has lazy modules without parameters; run it once on real inputs first"
        )
    allowed = parse_kinds(kinds)
    kept = matching(model, [keep] if isinstance(keep, str) else keep)
    call = add_decoder_inputs(model, as_call(example_inputs))
    record = _run(model, call)
    add_training_path(model, record, call)
    freeze_for_unreached_modules(model, record)
    _freeze_unused_and_kept(record, kept)
    _freeze_repetitions(record)
    _freeze_softmax_groups(record)
    return build_structure(model, record, call, allowed)


def _run(model: nn.Module, call: Call) -> TraceRecord:
    """Run the model once and return the record."""
    tracer, output = run_traced(model, call)
    outputs = list(outputs_of(output))
    if not outputs:
        raise TraceError(
            f"the model returns a {type(output).__name__} without tensors, so its results cannot be compared; "
            "wrap the model in a module that returns the result"
        )
    freeze_outputs(tracer, outputs, "model output")
    return tracer.record


def _freeze_unused_and_kept(record: TraceRecord, kept: Mapping[str, str]) -> None:
    """Freeze unused parameters, and the units that the parameters in `kept` produce."""
    for name, axes in record.tensor_axes.items():
        first = record.first_names[name]
        for dim, axis in enumerate(axes):
            if first not in record.used and first not in record.used_in_training:
                ax.freeze(axis, "not used in the forward pass")
            if name in kept and (first, dim) not in record.contracted:
                ax.freeze(axis, f"kept: {kept[name]!r}")


def _freeze_repetitions(record: TraceRecord) -> None:
    """Freeze numbers of repetitions, such as those of the key/value heads of grouped-query attention.

    A repetition that is a whole dimension of a tensor, such as a gate expanded over channels, changes with it instead.
    """
    whole = {ax.walk(axis) for axes in record.tensor_axes.values() for axis in axes}
    for axis in record.repeated:
        if ax.walk(axis) not in whole:
            ax.freeze(axis, "number of repetitions")


def _freeze_softmax_groups(record: TraceRecord) -> None:
    """Freeze the units of a softmax, except experts. Removing experts is inexact: the router chooses among fewer."""
    experts = {var for axis in record.experts for var in ax.leaves(axis)}
    for var in {var for axes in record.tensor_axes.values() for axis in axes for var in ax.leaves(axis)}:
        if var.softmax_group and var in experts:
            ax.mark_inexact(var, f"the router chooses among these units ({var.softmax_group})")
        elif var.softmax_group or var in experts:
            ax.freeze(var, var.softmax_group or "the expert of each row depends on the data")
