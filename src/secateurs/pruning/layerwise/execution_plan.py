"""The order in which a model runs its layers, and the tensors and parameters that layers share.

In layer-by-layer execution the whole model is called once per layer; the layers before it return their cached outputs.
This gives the same result only if all that later code uses of a layer is in the layer's output. One run on a few
samples shows who uses what; see `execution_trace`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from secateurs.data import Call
from secateurs.errors import ModelError, TraceError
from secateurs.pruning.depth import find_layers, forward_hooks
from secateurs.pruning.layerwise.execution_trace import OUTSIDE, ExecutionTrace, OutputTensor
from secateurs.structure import outputs_of
from secateurs.utils import evaluating


@dataclass(frozen=True)
class ExecutionPlan:
    """How a model is executed layer by layer.

    Attributes:
        layers: the names of the layers, in the order in which they run.
        long_lived: output tensors that other code than the next layer uses.
        layer_parameters: layer → the parameters that this layer alone uses.
        shared_parameters: all other parameters; they stay in memory.
        output_bytes: the size of each tensor that a layer returns, in bytes.
        peak_bytes: the largest size of all operator results alive at a time, in bytes, by layer; under `OUTSIDE` that
            of the rest of the model.
        seconds: the duration of the run.
    """

    layers: tuple[str, ...]
    long_lived: frozenset[OutputTensor]
    layer_parameters: Mapping[str, tuple[str, ...]]
    shared_parameters: tuple[str, ...]
    output_bytes: Mapping[OutputTensor, int]
    peak_bytes: Mapping[str, int]
    seconds: float


def plan_execution(model: nn.Module, call: Call, parameters: Iterable[str]) -> ExecutionPlan:
    """Run a model once, with any weights, and record how it uses its layers.

    Args:
        model: not changed.
        call: a call with a few samples.
        parameters: the names of the model's parameters.

    Raises:
        ModelError: the model has no layers, a layer runs more than once, code outside of a layer uses a tensor that
            the layer does not return, or modifies in place a tensor that other code made.
        TraceError: the model does not run.
    """
    layers = find_layers(model, call)
    trace = ExecutionTrace(model, (*layers.names, *layers.frozen))
    with evaluating(model), forward_hooks(trace.modules, trace.before_layer, trace.after_layer):
        start = time.perf_counter()
        try:
            with trace:
                output = call.copy().run(model)
        except ModelError:
            raise
        except Exception as error:
            raise TraceError(f"the model does not run on its inputs ({call.describe()}): {error}") from error
        seconds = time.perf_counter() - start
    for tensor in outputs_of(output):
        trace.use(tensor)
    layer_parameters, shared_parameters = _owners(trace, parameters)
    return ExecutionPlan(
        layers=trace.layers,
        long_lived=frozenset(trace.long_lived),
        layer_parameters=layer_parameters,
        shared_parameters=shared_parameters,
        output_bytes=trace.output_bytes,
        peak_bytes=dict(trace.memory.peaks),
        seconds=seconds,
    )


def _owners(trace: ExecutionTrace, parameters: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The parameters that one layer alone uses, by layer, and all others."""
    by_layer: dict[str, list[str]] = {layer: [] for layer in trace.layers}
    shared = []
    for name in parameters:
        users = trace.users_of(name)
        if len(users) == 1 and OUTSIDE not in users:
            by_layer[next(iter(users))].append(name)
        else:
            shared.append(name)
    return {layer: tuple(names) for layer, names in by_layer.items()}, tuple(shared)
