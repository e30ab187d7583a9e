"""Graphs that connect each unit with its nearest neighbours (SPADE, SSI)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secateurs.utils import require

if TYPE_CHECKING:  # scipy is an extra and slow to import
    from scipy import sparse

DUPLICATE = 1e-7
"""Two vectors count as equal if their distance is at most this share of their length.

Rounding errors are larger than smaller distances.
"""


def neighbour_graphs(
    before: np.ndarray, after: np.ndarray, k: int, gaussian: bool
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Build two graphs that connect each unit with its k nearest neighbours.

    An edge connects two units if one is among the k nearest neighbours of the other. k is doubled until both graphs are
    connected.

    Args:
        before: one vector per unit for the first graph, [units, samples]; at least two units.
        after: one vector per unit for the second graph, [units, samples].
        k: the initial number of neighbours per unit; SPADE uses 10.
        gaussian: if True, the weight of an edge of length d is exp(−d² / 2σ²). σ is the median distance from a unit to
            its k neighbours in the same graph, without duplicates. If False, all edges have the weight 1.

    Returns:
        The symmetric edge weights of the first and of the second graph, each [units, units].

    Raises:
        UsageError: scipy or scikit-learn is not installed.
    """
    require("scipy", "graphs")
    require("sklearn", "graphs")
    from scipy.sparse.csgraph import connected_components

    largest_k = len(before) - 1
    k = min(k, largest_k)
    while True:
        graphs = _neighbour_graph(before, k, gaussian), _neighbour_graph(after, k, gaussian)
        if k == largest_k or all(connected_components(graph, directed=False)[0] == 1 for graph in graphs):
            return graphs
        k = min(2 * k, largest_k)


def _neighbour_graph(vectors: np.ndarray, k: int, gaussian: bool) -> sparse.csr_array:
    """The symmetric edge weights [units, units] of the graph of the k nearest neighbours."""
    from scipy import sparse
    from sklearn.neighbors import NearestNeighbors

    vectors = vectors - vectors.mean(0)  # with a large common offset, rounding errors would exceed the distances
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(vectors)
    graph = sparse.csr_array(search.kneighbors_graph(mode="distance"))
    if gaussian:
        length = np.repeat(np.linalg.norm(vectors, axis=1), k)
        graph.data = _gaussian_weights(np.where(graph.data > DUPLICATE * length, graph.data, 0))
    else:
        graph.data = np.ones_like(graph.data)
    return sparse.csr_array(graph.maximum(graph.T))


def _gaussian_weights(distances: np.ndarray) -> np.ndarray:
    """exp(−d² / 2σ²), where σ is the median of the distances that are not zero."""
    if not distances.any():
        return np.ones_like(distances)
    sigma = np.median(distances[distances > 0])
    # Without the bound of 50, a weight could underflow to zero, and a connected graph could become disconnected.
    return np.exp(-0.5 * np.minimum((distances / sigma) ** 2, 50))
