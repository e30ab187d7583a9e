"""Random scores: the baseline for every other criterion."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.criteria.evidence import Evidence
from secateurs.criteria.registry import criterion
from secateurs.criteria.weight_view import Weight


def _entries(weight: Weight) -> Tensor:
    return torch.rand(weight.value.shape, generator=weight.generator)


@criterion("random", source="control", scope="global", entries=_entries, limits="uses no information")
def random_scores(evidence: Evidence) -> Tensor:
    """Uniform random numbers from the seed."""
    return torch.rand(evidence.group.size, generator=evidence.generator)
