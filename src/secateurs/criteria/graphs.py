"""Graphs of units, and how much each unit takes part in the distortion from one graph to another (SPADE, SSI)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from secateurs.errors import CriterionError
from secateurs.utils import require

if TYPE_CHECKING:  # scipy is slow to import, and an extra
    from scipy import sparse

DENSE = 4096
"""Up to this many units dense matrices are solved exactly; above, sparse ones iteratively."""
PROJECTIONS, BLOCK = 1024, 128
"""Random projections above `DENSE`, so many at a time; an edge's distortion is then off by about √(2 / 1024) = 4 %."""
TOLERANCE, STEPS = 1e-9, 5000
"""Of conjugate gradients: how far the preconditioned residual has to fall, and within how many steps."""
SAME = 1e-7
"""Vectors that are nearer than this, relative to their length, are one: the difference of squares shows no less."""
TIED = 1e-9
"""Eigenvalues that differ relatively by no more than this are one."""


def two_graphs(
    before: np.ndarray, after: np.ndarray, k: int, gaussian: bool
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Graphs of the k nearest neighbours of each unit, k doubled until both are connected.

    Args:
        before, after: vectors of the units, [units, numbers], at least two units.
        k: neighbours per unit at first; 10 in SPADE.
        gaussian: weights exp(−d² / 2σ²), with σ the median distance of neighbours in that graph, duplicates left out;
            otherwise 1.

    Returns:
        Symmetric weights [units, units] of the two, an edge where either unit is the other's neighbour.
    """
    require("scipy", "graphs")
    require("sklearn", "graphs")
    from scipy.sparse.csgraph import connected_components

    most = len(before) - 1
    k = min(k, most)
    while True:
        inward, outward = _neighbours(before, k, gaussian), _neighbours(after, k, gaussian)
        if k == most or all(connected_components(graph, directed=False)[0] == 1 for graph in (inward, outward)):
            return inward, outward
        k = min(2 * k, most)


def _neighbours(vectors: np.ndarray, k: int, gaussian: bool) -> sparse.csr_array:
    from scipy import sparse
    from sklearn.neighbors import NearestNeighbors

    vectors = vectors - vectors.mean(0)  # distances stay, and do not drown in what all vectors have in common
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(vectors)
    graph = sparse.csr_array(search.kneighbors_graph(mode="distance"))
    if gaussian:
        length = np.repeat(np.linalg.norm(vectors, axis=1), k)
        graph.data = _similarity(np.where(graph.data > SAME * length, graph.data, 0))
    else:
        graph.data = np.ones_like(graph.data)
    return sparse.csr_array(graph.maximum(graph.T))


def _similarity(distance: np.ndarray) -> np.ndarray:
    if not distance.any():
        return np.ones_like(distance)
    width = np.median(distance[distance > 0])
    # Far pairs keep a little weight, so that a connected graph stays connected in floating point.
    return np.exp(-0.5 * np.minimum((distance / width) ** 2, 50))


def participation(graph: sparse.csr_array, other: sparse.csr_array, pairs: int | None, seed: int = 0) -> np.ndarray:
    """The mean over a unit's neighbours in `graph` of the edge's distortion, divided by the largest mean.

    The distortion of an edge (p, q) is Σ ζ_i (v_i[p] − v_i[q])² over the leading generalised eigenpairs of the
    Laplacians, L v = ζ L' v, with vᵀ L' v = 1 (SPADE, ICML 2021). Over all of them it is eᵀ L'⁺ L L'⁺ e with
    e = e_p − e_q.

    Args:
        graph, other: symmetric weights [units, units] of connected graphs.
        pairs: number of leading eigenpairs, with those that tie with the last; None for all.
        seed: of the approximation for more than `DENSE` units.

    Returns:
        [units], in [0, 1].

    Raises:
        CriterionError: conjugate gradients do not converge.
    """
    from scipy import linalg, sparse

    edges = sparse.triu(graph, 1).tocoo()
    p, q = edges.row, edges.col
    before, after = _laplacian(graph), _laplacian(other)
    units = len(before.indptr) - 1
    if pairs is not None:
        distortion = _distances(_leading(before, after, pairs, seed), p, q)
    elif units <= DENSE:
        inverse = linalg.inv(_definite(after), assume_a="pos")
        distortion = _distances(inverse, p, q, (before @ inverse).T)
    else:
        distortion = sum(_distances(block, p, q) for block in _projected(before, after, seed))
    degree = np.bincount(p, minlength=units) + np.bincount(q, minlength=units)
    total = np.bincount(p, distortion, minlength=units) + np.bincount(q, distortion, minlength=units)
    means = total / degree
    return means / means.max() if means.max() > 0 else means


def _distances(left: np.ndarray, p: np.ndarray, q: np.ndarray, right: np.ndarray | None = None) -> np.ndarray:
    """(left_p − left_q) · (right_p − right_q) for each pair of rows; `right` is `left` by default."""
    right = left if right is None else right
    distances = np.empty(len(p))
    step = max(2**24 // left.shape[1], 1)  # 128 MiB at a time
    for start in range(0, len(p), step):
        i, j = p[start : start + step], q[start : start + step]
        distances[start : start + step] = np.einsum("ij,ij->i", left[i] - left[j], right[i] - right[j])
    return np.maximum(distances, 0)


def _laplacian(weights: sparse.csr_array) -> sparse.csr_array:
    from scipy import sparse

    return sparse.csr_array(sparse.diags_array(weights.sum(1)) - weights)


def _definite(laplacian: sparse.csr_array) -> np.ndarray:
    """The Laplacian of a connected graph, made positive definite where it is zero: for the constant vector."""
    dense = laplacian.toarray()
    return dense + dense.trace() / len(dense) ** 2


def _leading(before: sparse.csr_array, after: sparse.csr_array, pairs: int, seed: int) -> np.ndarray:
    """√ζ_i v_i of the largest ζ: [units, pairs]. The constant vector's ζ is made zero, which is the least."""
    from scipy import linalg, sparse
    from scipy.sparse.linalg import lobpcg

    units = len(before.indptr) - 1
    if units <= DENSE:
        values, vectors = linalg.eigh(before.toarray(), _definite(after))
        chosen = values >= values[-min(pairs, units - 1)] * (1 - TIED)
        return vectors[:, chosen] * np.sqrt(values[chosen])
    diagonal = after.diagonal()
    shift = diagonal.mean() / units

    def definite(x: np.ndarray) -> np.ndarray:
        return after @ x + shift * x.sum(0)

    values, vectors = lobpcg(
        before,
        np.random.default_rng(seed).standard_normal((units, pairs + 3)),  # the three more make it converge faster
        B=definite,
        M=sparse.diags_array(1 / diagonal),
        tol=1e-6,
        maxiter=500,
    )
    return vectors[:, :pairs] * np.sqrt(values[:pairs])


def _projected(before: sparse.csr_array, after: sparse.csr_array, seed: int) -> Iterator[np.ndarray]:
    """L'⁺ Bᵀ R in blocks of columns [units, `BLOCK`], with L = Bᵀ B over the edges and random signs R.

    All together, distances of rows are those of L'⁺ Bᵀ (Johnson and Lindenstrauss).
    """
    from scipy import sparse

    upper = sparse.triu(before, 1).tocoo()  # minus the weights
    root, edges = np.sqrt(np.negative(upper.data)), np.arange(upper.nnz)
    rows, columns = np.concatenate([upper.row, upper.col]), np.concatenate([edges, edges])
    incidence = sparse.csr_array((np.concatenate([root, -root]), (rows, columns)))
    random = np.random.default_rng(seed)
    for _ in range(PROJECTIONS // BLOCK):
        signs = random.choice([-1.0, 1.0], (upper.nnz, BLOCK)) / np.sqrt(PROJECTIONS)
        yield _solve(after, incidence @ signs)


def _solve(laplacian: sparse.csr_array, right: np.ndarray) -> np.ndarray:
    """L⁺ `right` but for constants, for columns without a mean, by conjugate gradients scaled by the diagonal."""
    scale = 1 / laplacian.diagonal()[:, None]
    solution, residual = np.zeros_like(right), right.copy()
    direction = scaled = scale * residual
    size = first = (residual * scaled).sum(0)
    for _ in range(STEPS):
        if (size <= TOLERANCE**2 * first).all():
            return solution
        image = laplacian @ direction
        step = size / (direction * image).sum(0)
        solution += step * direction
        residual -= step * image
        residual -= residual.mean(0)  # rounding must not lead off to the constant vector, where L is zero
        scaled = scale * residual
        last, size = size, (residual * scaled).sum(0)
        direction = scaled + (size / last) * direction
        direction -= direction.mean(0)
    raise CriterionError(
        f"the distortion of a graph of {len(right)} units did not converge: few links, and weak ones, hold it together"
    )
