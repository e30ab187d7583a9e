"""Gradients: what the loss would feel if a unit went."""

from __future__ import annotations

from torch import Tensor

from secateurs.criteria.evidence import Evidence
from secateurs.criteria.registry import criterion
from secateurs.criteria.weight_view import Weight


def _taylor(weight: Weight) -> Tensor:
    return (weight.value * weight.gradient("gradient")).square()


@criterion(
    "taylor",
    source="Molchanov et al. 2019 (arXiv 1906.10771), Eq. 8, summed over the unit's parameters",
    scope="global",
    gradients=("gradient",),
    entries=_taylor,
    limits="vanishes at a minimum of the loss on this data",
)
def taylor(evidence: Evidence) -> Tensor:
    """Sum of (weight × gradient of the mean loss)² over the unit's parameters."""
    return evidence.sums(_taylor, vectors=True)


@criterion(
    "taylor-gate",
    source="Molchanov et al. 2019 (arXiv 1906.10771), Eq. 8, of a gate on the unit's output, sample by sample",
    scope="per-cost",
    gradients=("gate",),
    limits="first order: blind to what removing several units does together",
)
def taylor_gate(evidence: Evidence) -> Tensor:
    """Mean over samples of (∂loss/∂gate)², the gate multiplying all that the unit gives to others.

    Those who use a unit are linear in it, so the gradient of the gate is Σ weight × gradient over the weights that
    use it.
    """
    return evidence.gradient("gate")


def _fisher(weight: Weight) -> Tensor:
    return weight.value.square() * weight.gradient("fisher")


@criterion(
    "fisher",
    source="OBD (LeCun et al. 1990) with the empirical Fisher information as curvature (arXiv 1801.05787)",
    scope="global",
    gradients=("fisher",),
    entries=_fisher,
    limits="one backward pass per sample",
)
def fisher(evidence: Evidence) -> Tensor:
    """Sum of weight² × mean squared gradient of a sample's loss over the unit's parameters.

    Scaling a unit up and those who use it down by the same factor does not change it.
    """
    return evidence.sums(_fisher, vectors=True)


def _snip(weight: Weight) -> Tensor:
    return (weight.value * weight.gradient("gradient")).abs()


@criterion(
    "snip",
    source="Lee et al. 2019 (arXiv 1810.02340), Eq. 5, summed over the unit's parameters",
    scope="global",
    gradients=("gradient",),
    entries=_snip,
    limits="meant for initialisation",
)
def snip(evidence: Evidence) -> Tensor:
    """Sum of |weight × gradient of the mean loss| over the unit's parameters."""
    return evidence.sums(_snip, vectors=True)


def _grasp(weight: Weight) -> Tensor:
    return weight.value * weight.gradient("hessian-gradient")


@criterion(
    "grasp",
    source="Wang et al. 2020 (arXiv 2002.07376), Eq. 8, with the sign of importance",
    scope="global",
    gradients=("gradient", "hessian-gradient"),
    entries=_grasp,
    limits="meant for initialisation; the paper also divides the logits by 200, which belongs into `loss`",
)
def grasp(evidence: Evidence) -> Tensor:
    """Sum of weight × (Hessian × gradient): how much of the gradient's flow would be lost; may be negative."""
    return evidence.sums(_grasp, vectors=True)


def _synflow(weight: Weight) -> Tensor:
    return weight.gradient("synaptic-flow")


@criterion(
    "synflow",
    source="Tanaka et al. 2020 (arXiv 2006.05467), Eq. 2 and Algorithm 1 with 100 rounds",
    scope="global",
    gradients=("synaptic-order",),
    entries=_synflow,
    entry_gradients=("synaptic-flow",),
    limits="blind to data; its theory holds for networks of ReLUs",
)
def synflow(evidence: Evidence) -> Tensor:
    """When the unit goes if those with the least synaptic flow through them go first, a few at a time."""
    return evidence.gradient("synaptic-order")
