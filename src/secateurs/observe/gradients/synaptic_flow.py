"""Synaptic flow: the share of each parameter in the output of a network of positive weights for an input of ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from secateurs.data import Call
from secateurs.errors import CriterionError
from secateurs.observe.gradients.gradient import Gradient, Setting, Values
from secateurs.structure import outputs_of
from secateurs.utils import device_of, differentiating


class SynapticFlow(Gradient):
    """The synaptic flow through each parameter; see `synaptic_flow`."""

    name = "synaptic-flow"
    summary = "the flow through each parameter for an input of ones, when all parameters are made positive"
    needs_data = needs_loss = False

    def compute(self, setting: Setting, computed: Mapping[Gradient, Values]) -> Values:
        """Compute the flow for inputs of the shapes that the model was traced on."""
        return synaptic_flow(setting.model, setting.structure.inputs)


SYNAPTIC_FLOW = SynapticFlow()


def synaptic_flow(model: nn.Module, call: Call, masks: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Compute the synaptic flow |θ| ⊙ ∂R/∂|θ| (SynFlow, arXiv 2006.05467, Eq. 2).

    R is the sum of all outputs for inputs of ones, in float64. Parameters and floating-point buffers are replaced by
    their magnitudes, and running means by zero. The model is not changed.

    Args:
        model: in evaluation mode.
        call: example inputs, which give the shapes and types of the inputs.
        masks: parameter name to a factor in the shape of the parameter. Other parameters are not masked.

    Returns:
        Parameter name to the flow, float64 in the shape of the parameter.

    Raises:
        CriterionError: the model does not run on such inputs, or the flow is not finite.
    """

    def magnitude(name: str, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().abs().double() if tensor.is_floating_point() else tensor
        return tensor * masks[name] if masks and name in masks else tensor

    device = device_of(model)
    ones = call.map(
        lambda t: torch.ones(t.shape, dtype=torch.float64 if t.is_floating_point() else t.dtype, device=device)
    )
    with differentiating(model) as parameters:
        positive = {name: magnitude(name, p).requires_grad_() for name, p in parameters.items()}
        buffers = {name: magnitude(name, buffer) for name, buffer in model.named_buffers()}
        for name in buffers:
            if name.endswith("running_mean"):  # batch norm would subtract the running mean from the flow
                buffers[name] = torch.zeros_like(buffers[name])
        try:
            outputs = functional_call(model, {**positive, **buffers}, ones.args, ones.kwargs)
            total = sum(t.sum() for t in outputs_of(outputs) if t.is_floating_point())
            gradients = torch.autograd.grad(total, list(positive.values()), materialize_grads=True)  # type: ignore[arg-type]
        except Exception as error:
            raise CriterionError(f"the model does not run in float64 on an input of ones: {error}") from error
    flow = {name: (p.detach() * g) for (name, p), g in zip(positive.items(), gradients, strict=True)}
    if not all(torch.isfinite(tensor).all() for tensor in flow.values()):
        raise CriterionError(
            "the synaptic flow is not finite, because a weight is not finite or an operator overflows for positive "
            "weights; choose a criterion other than synflow"
        )
    return flow
