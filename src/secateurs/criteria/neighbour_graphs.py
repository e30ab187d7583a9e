"""Graphs that connect each unit with its nearest neighbours (SPADE, SSI)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secateurs.utils import require

if TYPE_CHECKING:  # scipy is an extra and slow to import
    from scipy import sparse

DUPLICATE = 1e-7
"""Vectors closer than this, relative to their length, count as equal: rounding hides smaller distances."""


def neighbour_graphs(
    before: np.ndarray, after: np.ndarray, k: int, gaussian: bool
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Build two graphs of the k nearest neighbours of each unit; k is doubled until both graphs are connected.

    Args:
        before: one vector per unit for the first graph, [units, numbers], at least two units.
        after: one vector per unit for the second graph, [units, numbers].
        k: initial number of neighbours per unit; 10 in SPADE.
        gaussian: if true, edges weigh exp(−d² / 2σ²), where σ is the median distance of neighbours in the same graph
            without duplicates; if false, edges weigh 1.

    Returns:
        The symmetric weights [units, units] of each graph. Two units share an edge if either is a neighbour of the
        other.
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
    """The symmetric weights of the graph of the k nearest neighbours."""
    from scipy import sparse
    from sklearn.neighbors import NearestNeighbors

    vectors = vectors - vectors.mean(0)  # a large common offset would swamp the distances in rounding errors
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
    # The bound keeps weights above zero in floating point, so that a connected graph stays connected.
    return np.exp(-0.5 * np.minimum((distances / sigma) ** 2, 50))
