"""The distortion of edges between two graphs of the same units (SPADE, SSI).

Graphs of at most `DENSE` units use dense matrices and exact solvers. Larger graphs use sparse matrices: LOBPCG computes
the leading eigenpairs, and random projections with conjugate gradients approximate the sum over all eigenpairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from secateurs.errors import CriterionError

if TYPE_CHECKING:  # scipy is an extra and slow to import
    from scipy import sparse

DENSE = 4096
"""The largest number of units for dense matrices and exact solvers."""
PROJECTIONS, BLOCK = 1024, 128
"""The total number of random projections, and the number in each block.

The relative error of the distortion of an edge is about √(2 / 1024) = 4 %.
"""
TOLERANCE, STEPS = 1e-9, 5000
"""The stopping rule of conjugate gradients: reduction of the norm of the preconditioned residual, and maximum steps."""
TIED = 1e-9
"""Eigenvalues with a relative difference of at most this count as equal."""


def mean_edge_distortion(
    before: sparse.csr_array, after: sparse.csr_array, eigenpairs: int | None, seed: int = 0
) -> np.ndarray:
    """Score each unit by the mean distortion of its edges in `before`, divided by the largest mean of all units.

    Let L be the Laplacian of `before` and L' the Laplacian of `after`. (ζ_i, v_i) are the generalised eigenpairs
    L v = ζ L' v with vᵀ L' v = 1. The distortion of an edge (p, q) is Σ ζ_i (v_i[p] − v_i[q])² over the leading
    eigenpairs (SPADE, ICML 2021). The sum over all eigenpairs equals eᵀ L'⁺ L L'⁺ e with e = e_p − e_q.

    Args:
        before: symmetric edge weights of a connected graph, [units, units].
        after: symmetric edge weights of a connected graph of the same units, [units, units].
        eigenpairs: the number of leading eigenpairs. Up to `DENSE` units, eigenpairs that tie with the last one are
            added. None means all eigenpairs.
        seed: the seed of the approximation for more than `DENSE` units.

    Returns:
        The score of each unit, [units], in [0, 1].

    Raises:
        CriterionError: conjugate gradients do not converge.
    """
    from scipy import linalg, sparse

    edges = sparse.triu(before, 1).tocoo()
    p, q = edges.row, edges.col
    laplacian_before, laplacian_after = _laplacian(before), _laplacian(after)
    units = len(laplacian_before.indptr) - 1
    if eigenpairs is not None:
        distortion = _row_distances(_leading_eigenvectors(laplacian_before, laplacian_after, eigenpairs, seed), p, q)
    elif units <= DENSE:
        inverse = linalg.inv(_positive_definite(laplacian_after), assume_a="pos")
        distortion = _row_distances(inverse, p, q, (laplacian_before @ inverse).T)
    else:
        blocks = _random_projections(laplacian_before, laplacian_after, seed)
        distortion = sum(_row_distances(block, p, q) for block in blocks)
    degree = np.bincount(p, minlength=units) + np.bincount(q, minlength=units)
    total = np.bincount(p, distortion, minlength=units) + np.bincount(q, distortion, minlength=units)
    means = total / degree
    return means / means.max() if means.max() > 0 else means


def _row_distances(left: np.ndarray, p: np.ndarray, q: np.ndarray, right: np.ndarray | None = None) -> np.ndarray:
    """(left_p − left_q) · (right_p − right_q) for each pair (p, q) of rows; `right` is `left` by default."""
    right = left if right is None else right
    distances = np.empty(len(p))
    step = max(2**24 // left.shape[1], 1)  # 128 MiB at a time
    for start in range(0, len(p), step):
        i, j = p[start : start + step], q[start : start + step]
        distances[start : start + step] = np.einsum("ij,ij->i", left[i] - left[j], right[i] - right[j])
    return np.maximum(distances, 0)


def _laplacian(weights: sparse.csr_array) -> sparse.csr_array:
    """The Laplacian [units, units] of a graph with these edge weights."""
    from scipy import sparse

    return sparse.csr_array(sparse.diags_array(weights.sum(1)) - weights)


def _positive_definite(laplacian: sparse.csr_array) -> np.ndarray:
    """The dense Laplacian of a connected graph plus a constant, so that the constant vector has an eigenvalue > 0."""
    dense = laplacian.toarray()
    return dense + dense.trace() / len(dense) ** 2


def _leading_eigenvectors(before: sparse.csr_array, after: sparse.csr_array, eigenpairs: int, seed: int) -> np.ndarray:
    """√ζ_i v_i for the largest ζ, [units, eigenpairs].

    The constant vector has ζ = 0, the smallest eigenvalue, and never counts as a leading one.
    """
    from scipy import linalg, sparse
    from scipy.sparse.linalg import lobpcg

    units = len(before.indptr) - 1
    if units <= DENSE:
        values, vectors = linalg.eigh(before.toarray(), _positive_definite(after))
        chosen = values >= values[-min(eigenpairs, units - 1)] * (1 - TIED)
        return vectors[:, chosen] * np.sqrt(values[chosen])
    diagonal = after.diagonal()
    shift = diagonal.mean() / units

    def positive_definite(x: np.ndarray) -> np.ndarray:
        return after @ x + shift * x.sum(0)

    values, vectors = lobpcg(
        before,
        # Three additional vectors make the iteration converge faster.
        np.random.default_rng(seed).standard_normal((units, eigenpairs + 3)),
        B=positive_definite,
        M=sparse.diags_array(1 / diagonal),
        tol=1e-6,
        maxiter=500,
    )
    return vectors[:, :eigenpairs] * np.sqrt(values[:eigenpairs])


def _random_projections(before: sparse.csr_array, after: sparse.csr_array, seed: int) -> Iterator[np.ndarray]:
    """Columns of L'⁺ Bᵀ R in blocks [units, `BLOCK`]. L = Bᵀ B with one row of B per edge; R are random signs.

    The distances between rows over all blocks approximate the distances between rows of L'⁺ Bᵀ (the lemma of Johnson
    and Lindenstrauss).
    """
    from scipy import sparse

    upper = sparse.triu(before, 1).tocoo()  # the negated edge weights
    root, edges = np.sqrt(np.negative(upper.data)), np.arange(upper.nnz)
    rows, columns = np.concatenate([upper.row, upper.col]), np.concatenate([edges, edges])
    incidence = sparse.csr_array((np.concatenate([root, -root]), (rows, columns)))
    random = np.random.default_rng(seed)
    for _ in range(PROJECTIONS // BLOCK):
        signs = random.choice([-1.0, 1.0], (upper.nnz, BLOCK)) / np.sqrt(PROJECTIONS)
        yield _solve(after, incidence @ signs)


def _solve(laplacian: sparse.csr_array, right: np.ndarray) -> np.ndarray:
    """Solve L x = `right` by conjugate gradients with the diagonal of L as preconditioner.

    The columns of `right` must have mean zero. Each column of the solution is determined up to a constant.
    """
    preconditioner = 1 / laplacian.diagonal()[:, None]
    solution, residual = np.zeros_like(right), right.copy()
    direction = preconditioned = preconditioner * residual
    size = initial_size = (residual * preconditioned).sum(0)
    for _ in range(STEPS):
        if (size <= TOLERANCE**2 * initial_size).all():
            return solution
        image = laplacian @ direction
        step = size / (direction * image).sum(0)
        solution += step * direction
        residual -= step * image
        residual -= residual.mean(0)  # remove the constant part that rounding adds, because no step can reduce it
        preconditioned = preconditioner * residual
        previous_size, size = size, (residual * preconditioned).sum(0)
        direction = preconditioned + (size / previous_size) * direction
        direction -= direction.mean(0)
    raise CriterionError(
        f"the edge distortion of a graph of {len(right)} units did not converge in {STEPS} conjugate gradient steps: "
        "weak edges connect the parts of the graph; use more data or another criterion"
    )
