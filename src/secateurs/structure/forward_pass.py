"""One traced forward pass of a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from secateurs.data import Call
from secateurs.errors import DataError, TraceError
from secateurs.structure import axis as ax
from secateurs.structure.tracer import Tracer
from secateurs.utils import device_of, evaluating


def run_traced(model: nn.Module, example_call: Call, training: bool = False) -> tuple[Tracer, Any]:
    """Run the model once and record how axes flow.

    Args:
        model: the model; modes and tensors are restored.
        example_call: the example inputs; copies on the device of the model are used.
        training: run the code of the model in training mode. Modules of PyTorch stay in evaluation mode: they compute
            with the same parameters in both modes.

    Returns:
        The tracer, and the output of the model.

    Raises:
        TraceError: the model does not run on the inputs.
    """
    tracer, call = Tracer(model), example_call.to(device_of(model)).copy()
    for tensor, value in zip(call.tensors(), example_call.tensors(), strict=True):
        tracer.values.know(tensor, value)
    try:
        samples = call.samples()
    except DataError:  # only observations need the number of samples, and they raise this error then
        samples = 1
    tracer.add_inputs(call.tensors(), samples)
    tracer.record.inputs = {
        name: tracer.tensors.info(tensor).axes for name, tensor in call.named_tensors(model).items()
    }
    with evaluating(model):
        for module in model.modules() if training else ():
            module.training = not type(module).__module__.startswith("torch.nn.")
        try:
            with tracer:
                return tracer, call.run(model)
        except Exception as error:  # the code of the model may raise anything
            raise TraceError(f"the model does not run on the example inputs ({call.describe()}): {error}") from error


def freeze_outputs(tracer: Tracer, outputs: Iterable[Tensor], reason: str) -> None:
    """Freeze the axes of the outputs of the model."""
    for tensor in outputs:
        for axis in tracer.tensors.info(tensor).axes:
            ax.freeze(axis, reason)
