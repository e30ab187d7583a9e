"""Graphs of units, and how much each unit takes part in the distortion from one graph to another (SPADE, SSI)."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import cg, lobpcg
from sklearn.neighbors import NearestNeighbors

DENSE = 4096
"""Up to this many units dense matrices are solved exactly; above, sparse ones approximately."""
PROJECTIONS = 256
"""Random projections of the approximation; each score is then off by about 9 % (√(2 / 256)), independently."""


def two_graphs(
    before: np.ndarray, after: np.ndarray, k: int, gaussian: bool
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Graphs of the k nearest neighbours of each unit, k being the least from this one up that connects both.

    Args:
        before, after: vectors of the units, [units, numbers], at least two different units.
        k: neighbours per unit at first; doubled until both graphs are connected.
        gaussian: weights exp(−d² / 2σ²), with σ the median distance of neighbours in that graph; otherwise 1.

    Returns:
        Symmetric weights [units, units] of the two, an edge where either unit is the other's neighbour.
    """
    k = min(k, len(before) - 1)
    while True:
        graphs = tuple(_neighbours(vectors, k, gaussian) for vectors in (before, after))
        if k == len(before) - 1 or all(connected_components(g, directed=False)[0] == 1 for g in graphs):
            return graphs  # type: ignore[return-value]
        k = min(2 * k, len(before) - 1)


def _neighbours(vectors: np.ndarray, k: int, gaussian: bool) -> sparse.csr_array:
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(vectors)
    graph = sparse.csr_array(found.kneighbors_graph(mode="distance"))
    if gaussian:
        width = np.median(graph.data)
        # Far pairs keep a little weight, so that a connected graph stays connected in floating point.
        graph.data = np.exp(-0.5 * np.minimum((graph.data / width) ** 2, 50)) if width > 0 else np.ones_like(graph.data)
    else:
        graph.data = np.ones_like(graph.data)
    return sparse.csr_array(graph.maximum(graph.T))


def participation(graph: sparse.csr_array, other: sparse.csr_array, pairs: int | None, seed: int = 0) -> np.ndarray:
    """The mean over a unit's neighbours in `graph` of the edge's distortion, divided by the largest mean.

    The distortion of an edge (p, q) is Σ ζ_i (v_i[p] − v_i[q])² over the leading generalised eigenpairs of the
    Laplacians, L v = ζ L' v, with vᵀ L' v = 1 (SPADE, ICML 2021). Over all of them it is eᵀ L'⁺ L L'⁺ e with
    e = e_p − e_q.

    Args:
        graph, other: symmetric weights [units, units] of connected graphs.
        pairs: number of leading eigenpairs; None for all.
        seed: of the approximation for many units.

    Returns:
        [units], in [0, 1].
    """
    edges = sparse.triu(graph, 1).tocoo()
    p, q = edges.row, edges.col
    embedding = (_all if pairs is None else _leading)(_laplacian(graph), _laplacian(other), pairs or 0, seed)
    distortion = np.square(embedding[p] - embedding[q]).sum(1)
    units = graph.indptr.size - 1
    degree = np.bincount(p, minlength=units) + np.bincount(q, minlength=units)
    total = np.bincount(p, distortion, minlength=units) + np.bincount(q, distortion, minlength=units)
    means = total / degree
    return means / means.max() if means.max() > 0 else means


def _laplacian(weights: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(sparse.diags_array(weights.sum(1)) - weights)


def _leading(before: sparse.csr_array, after: sparse.csr_array, pairs: int, seed: int) -> np.ndarray:
    """√ζ_i v_i of the largest ζ, [units, pairs], but for the constant vector, which both Laplacians send to zero."""
    units = before.indptr.size - 1
    pairs = min(pairs, units - 1)
    if units <= DENSE:
        # On the complement of the constant vector the Laplacian of a connected graph is positive definite.
        mean = np.full((units, units), 1 / units)
        scale = after.diagonal().mean()
        values, vectors = linalg.eigh(
            before.toarray(), after.toarray() + scale * mean, subset_by_index=(units - pairs, units - 1)
        )
    else:
        start = np.random.default_rng(seed).standard_normal((units, pairs + 3))
        values, vectors = lobpcg(
            before, start, B=after, M=_jacobi(after), Y=np.ones((units, 1)), tol=1e-6, maxiter=500, largest=True
        )
        values, vectors = values[:pairs], vectors[:, :pairs]
    return vectors * np.sqrt(np.maximum(values, 0))


def _all(before: sparse.csr_array, after: sparse.csr_array, _: int, seed: int) -> np.ndarray:
    """Rows whose squared distances are eᵀ L'⁺ L L'⁺ e: [units, units], or projected at random where that is large.

    With L = Bᵀ B over the edges they are the columns of B L'⁺.
    """
    units = before.indptr.size - 1
    upper = sparse.triu(before, 1).tocoo()
    root, edges = np.sqrt(np.negative(upper.data)), np.arange(upper.nnz)
    incidence = sparse.csr_array(
        (np.concatenate([root, -root]), (np.concatenate([edges, edges]), np.concatenate([upper.row, upper.col]))),
        shape=(upper.nnz, units),
    )
    if units <= DENSE:
        scale = after.diagonal().mean()
        inverse = linalg.inv(after.toarray() + np.full((units, units), scale / units))
        values, vectors = linalg.eigh(before.toarray())
        return inverse @ (vectors * np.sqrt(np.maximum(values, 0)))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (PROJECTIONS, upper.nnz)) / np.sqrt(PROJECTIONS)
    rows = signs @ incidence
    jacobi = _jacobi(after)
    return np.stack([cg(after, row, rtol=1e-6, maxiter=2000, M=jacobi)[0] for row in rows], axis=1)


def _jacobi(laplacian: sparse.csr_array) -> sparse.dia_array:
    return sparse.diags_array(1 / laplacian.diagonal())
