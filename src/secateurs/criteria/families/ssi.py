"""SSI, spectral structural importance: a unit's part in the distortion of a layer's graph by a non-linearity."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.criteria.correlation import varies
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.graphs import participation, two_graphs
from secateurs.criteria.registry import criterion
from secateurs.criteria.request import Request
from secateurs.errors import CriterionError, FewSamplesWarning
from secateurs.observe import Pooled
from secateurs.utils import warn_user

REQUESTS = (Request("around", Pooled),)
NEIGHBOURS = 10
LIMITS = "needs a non-linearity and many samples; blind to the use of the units"


@criterion(
    "ssi", source="SSI, with all eigenpairs and Gaussian weights", scope="local", requests=REQUESTS, limits=LIMITS
)
def ssi(evidence: Evidence) -> Tensor:
    """Mean distortion of the unit's edges from the graph of pre-activations to that of post-activations.

    Nodes are units, their vectors the pooled activations of all samples. Every edge (p, q) of the graph of
    pre-activations gets eᵀ L_out⁺ L_in L_out⁺ e with e = e_p − e_q, which is the paper's sum over all generalised
    eigenpairs; weights fall with distance. Divided by the group's maximum. Constant units score 0.
    """
    return evidence.combine([_scores(*pair, gaussian=True, pairs=None) for pair in _pooled(evidence)])


@criterion(
    "ssi-literal",
    source="SSI, with SPADE's settings (ICML 2021)",
    scope="local",
    requests=REQUESTS,
    limits=f"{LIMITS}; the same for all units of a group with no more than {NEIGHBOURS + 1}",
)
def ssi_literal(evidence: Evidence) -> Tensor:
    """As ssi, with binary weights and the two leading eigenpairs alone, as printed."""
    return evidence.combine([_scores(*pair, gaussian=False, pairs=2) for pair in _pooled(evidence)])


def _pooled(evidence: Evidence) -> list[tuple[Tensor, Tensor]]:
    """The inputs and outputs of each non-linearity, float64 on the CPU, each [samples, units]."""
    pairs = [(_values(before), _values(after)) for before, after in evidence.around(Pooled)]
    samples, units = pairs[0][0].shape
    if samples < 2:
        raise CriterionError("ssi needs at least 2 samples to tell units apart")
    if samples < units:
        warn_user(
            f"ssi has {samples} samples for the {units} units of group {evidence.group.name!r}: distances "
            "between units rest on so few numbers that other samples would give other scores; give more samples",
            FewSamplesWarning,
        )
    return pairs


def _values(statistic: Pooled) -> Tensor:
    assert statistic.values is not None, "observe() feeds every statistic or raises"
    return statistic.values.double().cpu()


def _scores(before: Tensor, after: Tensor, gaussian: bool, pairs: int | None) -> Tensor:
    scores = torch.zeros(before.shape[1], dtype=torch.float64)
    live = varies(before) & varies(after)
    if live.sum() > 1:
        graphs = two_graphs(before.T[live].numpy(), after.T[live].numpy(), NEIGHBOURS, gaussian)
        scores[live] = torch.from_numpy(participation(*graphs, pairs))
    else:
        scores[live] = 1
    return scores
