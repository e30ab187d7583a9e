"""Gradients that criteria request: one class for each kind, and `differentiate`, which computes several together."""

from secateurs.observe.gradients.curvature import HESSIAN_DIAGONAL, HESSIAN_GRADIENT
from secateurs.observe.gradients.differentiate import GRADIENTS, differentiate, find_gradient, gradient_passes
from secateurs.observe.gradients.gradient import Gradient, Gradients, Setting, Step, Values
from secateurs.observe.gradients.per_unit import sum_over_consumers
from secateurs.observe.gradients.sample_means import FISHER, GATE, LOSS_GRADIENT, SampleMean
from secateurs.observe.gradients.synaptic_flow import SYNAPTIC_FLOW, synaptic_flow
from secateurs.observe.gradients.synflow import ROUNDS, SYNAPTIC_ORDER, synaptic_order

__all__ = [
    "FISHER",
    "GATE",
    "GRADIENTS",
    "HESSIAN_DIAGONAL",
    "HESSIAN_GRADIENT",
    "LOSS_GRADIENT",
    "ROUNDS",
    "SYNAPTIC_FLOW",
    "SYNAPTIC_ORDER",
    "Gradient",
    "Gradients",
    "SampleMean",
    "Setting",
    "Step",
    "Values",
    "differentiate",
    "find_gradient",
    "gradient_passes",
    "sum_over_consumers",
    "synaptic_flow",
    "synaptic_order",
]
