"""Criteria that use gradients: estimates of the change of the loss when a unit is removed."""

from __future__ import annotations

from torch import Tensor

from secateurs.criteria.evidence import Evidence
from secateurs.criteria.registry import criterion
from secateurs.criteria.weight_view import Weight
from secateurs.observe import FISHER, GATE, HESSIAN_GRADIENT, LOSS_GRADIENT, ROUNDS, SYNAPTIC_FLOW, SYNAPTIC_ORDER


def _taylor(weight: Weight) -> Tensor:
    return (weight.value * weight.gradient(LOSS_GRADIENT)).square()


@criterion(
    "taylor",
    source="Molchanov et al. 2019 (arXiv 1906.10771), Eq. 8, summed over the unit's parameters",
    scope="global",
    gradients=(LOSS_GRADIENT,),
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
    gradients=(GATE,),
    limits="first order: ignores the joint effect of several removed units",
)
def taylor_gate(evidence: Evidence) -> Tensor:
    """Mean over samples of (∂loss/∂gate)², where the gate multiplies the output of the unit.

    The layers that use a unit are linear in the unit. So the gradient of the gate is Σ weight × gradient over the
    weights that use the unit.
    """
    return evidence.gradient(GATE)


def _fisher(weight: Weight) -> Tensor:
    return weight.value.square() * weight.gradient(FISHER)


@criterion(
    "fisher",
    source="OBD (LeCun et al. 1990) with the empirical Fisher information as curvature (arXiv 1801.05787)",
    scope="global",
    gradients=(FISHER,),
    entries=_fisher,
    limits="one backward pass per sample",
)
def fisher(evidence: Evidence) -> Tensor:
    """Sum of weight² × mean squared gradient of the loss of single samples, over the unit's parameters.

    The score does not change when a unit is scaled up and the weights that use the unit are scaled down by the same
    factor.
    """
    return evidence.sums(_fisher, vectors=True)


def _snip(weight: Weight) -> Tensor:
    return (weight.value * weight.gradient(LOSS_GRADIENT)).abs()


@criterion(
    "snip",
    source="Lee et al. 2019 (arXiv 1810.02340), Eq. 5, summed over the unit's parameters",
    scope="global",
    gradients=(LOSS_GRADIENT,),
    entries=_snip,
    limits="designed for untrained networks",
)
def snip(evidence: Evidence) -> Tensor:
    """Sum of |weight × gradient of the mean loss| over the unit's parameters."""
    return evidence.sums(_snip, vectors=True)


def _grasp(weight: Weight) -> Tensor:
    return weight.value * weight.gradient(HESSIAN_GRADIENT)


@criterion(
    "grasp",
    source="Wang et al. 2020 (arXiv 2002.07376), Eq. 8, with the sign of importance",
    scope="global",
    gradients=(LOSS_GRADIENT, HESSIAN_GRADIENT),
    entries=_grasp,
    limits="designed for untrained networks; to divide the logits by 200, as the paper does, use `loss`",
)
def grasp(evidence: Evidence) -> Tensor:
    """Sum of weight × (Hessian × gradient): the gradient flow that the removal would cost; may be negative."""
    return evidence.sums(_grasp, vectors=True)


def _synflow(weight: Weight) -> Tensor:
    return weight.gradient(SYNAPTIC_FLOW)


@criterion(
    "synflow",
    source="Tanaka et al. 2020 (arXiv 2006.05467), Eq. 2 and Algorithm 1 with 100 rounds",
    scope="global",
    gradients=(SYNAPTIC_ORDER,),
    entries=_synflow,
    entry_gradients=(SYNAPTIC_FLOW,),
    entry_rounds=ROUNDS,
    limits="ignores data; the theory holds for ReLU networks",
)
def synflow(evidence: Evidence) -> Tensor:
    """Round in which the unit is removed, when each round removes a few units with the least synaptic flow."""
    return evidence.gradient(SYNAPTIC_ORDER)
