"""Magnitude: how large the weights are that make a unit and that use it."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.criteria.registry import Evidence, criterion


@criterion("l1", source="Li et al. 2017 (arXiv 1608.08710), summed over the group", comparable=True)
def l1(evidence: Evidence) -> Tensor:
    """Sum of absolute weights over all layers of the group, divided by the group's mean."""
    return _relative(torch.stack([w.abs().sum(1) for w in evidence.weights()]).sum(0))


@criterion("l2", source="Fang et al. 2023 (arXiv 2301.12900), group norm", comparable=True)
def l2(evidence: Evidence) -> Tensor:
    """Euclidean norm of the weights over all layers of the group, divided by the group's mean."""
    return _relative(torch.stack([w.square().sum(1) for w in evidence.weights()]).sum(0).sqrt())


def _relative(norms: Tensor) -> Tensor:
    mean = norms.mean()
    return norms / mean if mean > 0 else norms
