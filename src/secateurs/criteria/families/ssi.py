"""SSI, spectral structural importance: how much a unit takes part in what a non-linearity does to a layer's graph."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from secateurs.criteria.evidence import Evidence, Request
from secateurs.criteria.families.graphs import participation, two_graphs
from secateurs.criteria.registry import criterion
from secateurs.errors import CriterionError, FewSamplesWarning
from secateurs.observe import Pooled

REQUESTS = (Request("around", Pooled),)
NEIGHBOURS = 10
LIMITS = "needs a non-linearity and many samples; blind to how the units are used"


@criterion(
    "ssi", source="SSI, with all eigenpairs and Gaussian weights", comparable=False, requests=REQUESTS, limits=LIMITS
)
def ssi(evidence: Evidence) -> Tensor:
    """Mean distortion of the unit's edges from the graph of pre-activations to that of post-activations.

    Nodes are units, their vectors the pooled activations of all samples. Every edge (p, q) of the graph of
    pre-activations gets eᵀ L_out⁺ L_in L_out⁺ e with e = e_p − e_q, which is the paper's sum over all generalised
    eigenpairs; weights fall with distance. Divided by the group's maximum. Units that are constant score 0.
    """
    return evidence.combine([_scores(*pair, gaussian=True, pairs=None) for pair in evidence.around(Pooled)])


@criterion(
    "ssi-literal", source="SSI, with SPADE's settings (ICML 2021)", comparable=False, requests=REQUESTS, limits=LIMITS
)
def ssi_literal(evidence: Evidence) -> Tensor:
    """As ssi, with binary weights and the two leading eigenpairs alone, as printed."""
    return evidence.combine([_scores(*pair, gaussian=False, pairs=2) for pair in evidence.around(Pooled)])


def _scores(before: Pooled, after: Pooled, gaussian: bool, pairs: int | None) -> Tensor:
    z, a = before.values, after.values  # [samples, units]
    assert z is not None, "observe() feeds every statistic or raises"
    assert a is not None, "observe() feeds every statistic or raises"
    samples, units = a.shape
    if samples < 2:
        raise CriterionError("ssi needs at least 2 samples to tell units apart")
    if samples < units:
        warnings.warn(
            f"ssi has {samples} samples for {units} units: distances between units are those of so few numbers, and "
            "the scores will differ much from sample to sample",
            FewSamplesWarning,
            stacklevel=2,
        )
    scores = torch.zeros(units, dtype=torch.float64)
    live = ((a.amax(0) > a.amin(0)) & (z.amax(0) > z.amin(0))).cpu()
    if live.sum() == 1:
        scores[live] = 1
    if live.sum() < 2:
        return scores
    inward, outward = (x.T.double().cpu()[live].numpy() for x in (z, a))
    graphs = two_graphs(inward, outward, NEIGHBOURS, gaussian)
    scores[live] = torch.from_numpy(participation(*graphs, pairs))
    return scores
