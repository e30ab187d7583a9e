"""SSI, spectral structural importance: the distortion of a unit's edges by the non-linearity of the layer."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.criteria.correlation import varies
from secateurs.criteria.distortion import mean_edge_distortion
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.neighbour_graphs import neighbour_graphs
from secateurs.criteria.registry import criterion
from secateurs.criteria.request import Request
from secateurs.errors import CriterionError, FewSamplesWarning
from secateurs.observe import Pooled
from secateurs.utils import warn_user

REQUESTS = (Request("around", Pooled),)
NEIGHBOURS = 10
"""The initial number of neighbours of a unit in the graphs."""
LIMITS = "needs a non-linearity and many samples; ignores the layers that use the units"


@criterion(
    "ssi", source="SSI, with all eigenpairs and Gaussian weights", scope="local", requests=REQUESTS, limits=LIMITS
)
def ssi(evidence: Evidence) -> Tensor:
    """Mean distortion of the unit's edges from the graph of pre-activations to the graph of post-activations.

    The nodes of both graphs are units, connected to the nearest neighbours by the pooled activations of all samples.
    Edges weigh less with distance. The distortion of an edge (p, q) of the first graph is eᵀ L_out⁺ L_in L_out⁺ e with
    e = e_p − e_q, which equals the paper's sum over all generalised eigenpairs. Scores are divided by the maximum of
    the group. Constant units score 0.
    """
    return evidence.combine([_scores(*pair, gaussian=True, eigenpairs=None) for pair in _pooled(evidence)])


@criterion(
    "ssi-literal",
    source="SSI, with SPADE's settings (ICML 2021)",
    scope="local",
    requests=REQUESTS,
    limits=f"{LIMITS}; the same for all units of a group with no more than {NEIGHBOURS + 1}",
)
def ssi_literal(evidence: Evidence) -> Tensor:
    """Same as ssi, with binary weights and only the two leading eigenpairs, as printed."""
    return evidence.combine([_scores(*pair, gaussian=False, eigenpairs=2) for pair in _pooled(evidence)])


def _pooled(evidence: Evidence) -> list[tuple[Tensor, Tensor]]:
    """The inputs and outputs of each non-linearity, float64 on the CPU, each [samples, units]."""
    pairs = [(_values(before), _values(after)) for before, after in evidence.around(Pooled)]
    samples, units = pairs[0][0].shape
    if samples < 2:
        raise CriterionError(f"ssi needs at least 2 samples, not {samples}")
    if samples < units:
        warn_user(
            f"ssi has {samples} samples for the {units} units of group {evidence.group.name!r}, so the scores depend "
            "strongly on the samples; give more samples",
            FewSamplesWarning,
        )
    return pairs


def _values(statistic: Pooled) -> Tensor:
    assert statistic.values is not None, "observe() feeds every statistic or raises"
    return statistic.values.double().cpu()


def _scores(before: Tensor, after: Tensor, gaussian: bool, eigenpairs: int | None) -> Tensor:
    """Scores [units] from pooled activations [samples, units] before and after a non-linearity."""
    scores = torch.zeros(before.shape[1], dtype=torch.float64)
    live = varies(before) & varies(after)
    if live.sum() > 1:
        graphs = neighbour_graphs(before.T[live].numpy(), after.T[live].numpy(), NEIGHBOURS, gaussian)
        scores[live] = torch.from_numpy(mean_edge_distortion(*graphs, eigenpairs))
    else:
        scores[live] = 1
    return scores
