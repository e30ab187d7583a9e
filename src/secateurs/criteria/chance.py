"""Chance: the control that every other criterion has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.criteria.registry import Evidence, criterion


@criterion("random", source="control", comparable=True)
def chance(evidence: Evidence) -> Tensor:
    """Uniform random numbers from the seed."""
    return torch.rand(evidence.group.size, generator=evidence.generator)
