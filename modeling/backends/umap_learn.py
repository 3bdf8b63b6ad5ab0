"""Lay out maps with umap-learn, from given neighbors and a given start, one epoch at a time.

Leland McInnes, John Healy and James Melville, *UMAP: Uniform Manifold Approximation and Projection for Dimension
Reduction*, arXiv:1802.03426 (2018). umap-learn runs all epochs in one call, which cannot be stopped. Here its compiled
epoch is called once per epoch with the arguments of its own loop, and gives the same bytes.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

if TYPE_CHECKING:
    from modeling.algorithms.neighbors import Graph

Floats = NDArray[np.float32]
OnEpoch = Callable[[int, int], None]
# umap-learn's defaults, for arguments that its epoch function requires.
SMALL, EPOCHS_OF_SMALL, EPOCHS = 10_000, 500, 200
NEGATIVES, GAMMA, ALPHA = 5.0, 1.0, 1.0


def fuzzy_graph(graph: Graph, n_neighbors: int, y: NDArray[np.int64] | None = None) -> csr_array:
    """Return the symmetric fuzzy weights (n, n) in (0, 1] of neighbors.

    Parameters
    ----------
    graph
        At least ``n_neighbors - 1`` neighbors of every row.
    n_neighbors
        Number of neighbors used, including the row itself; at least 2.
    y
        Labels (n,), -1 for rows without one: neighbors with different labels are moved apart.
    """
    umap_ = _umap_()
    n, k = len(graph.indices), n_neighbors - 1
    # umap-learn counts a row as its own first neighbor.
    indices = np.hstack([np.arange(n, dtype=np.int32)[:, None], graph.indices[:, :k]])
    distances = np.hstack([np.zeros((n, 1), np.float32), graph.distances[:, :k]])
    rows = np.empty((n, 0), np.float32)  # only their number is used if neighbors are given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights, _, _ = umap_.fuzzy_simplicial_set(rows, n_neighbors, None, "euclidean", {}, indices, distances)
        if y is not None:
            weights = umap_.discrete_metric_simplicial_set_intersection(weights, y)
    result = csr_array(weights)
    result.sort_indices()
    return result


def lay_out(
    weights: csr_array,
    start: Floats,
    *,
    min_dist: float,
    seed: int,
    n_epochs: int | None = None,
    on_epoch: OnEpoch | None = None,
    is_parallel: bool = False,
) -> Floats:
    """Return places (n, 2) of rows with symmetric ``weights`` (n, n), starting from ``start`` (n, 2).

    ``on_epoch(done, total)`` is called after each epoch and may raise to stop. Runs on one core, which makes it
    reproducible; ``is_parallel`` uses all cores and gives different places each time.
    """
    n = len(start)
    total = n_epochs or (EPOCHS_OF_SMALL if n <= SMALL else EPOCHS)
    edges = _edges(weights, total)
    period = _umap_().make_epochs_per_sample(edges.data, total)
    negative_period = period / NEGATIVES
    next_at, next_negative_at = period.copy(), negative_period.copy()
    a, b = _umap_().find_ab_params(1.0, min_dist)
    places = _scaled(start)
    random = np.random.RandomState(seed).randint(-(2**31) + 1, 2**31 - 1, 3).astype(np.int64)
    states = random + places[:, 0].astype(np.float64).view(np.int64)[:, None]
    epoch, unused = _epoch(is_parallel), np.zeros(1, np.float32)
    for number in range(total):
        alpha = ALPHA if number == 0 else ALPHA * (1.0 - (number - 1) / total)
        epoch(
            places, places, edges.row, edges.col, n, period, a, b, states, GAMMA, 2, True, alpha,
            negative_period, next_negative_at, next_at, number,
            # densMAP, which is off.
            False, unused, unused, 0, 0, 0, 0, unused, unused, 0,
        )  # fmt: skip
        if on_epoch is not None:
            on_epoch(number + 1, total)
    return places


def _edges(weights: csr_array, total: int) -> coo_array:
    """Drop the edges that would be sampled less than once."""
    edges = weights.tocoo()
    edges.data[edges.data < edges.data.max(initial=0) / total] = 0
    edges.eliminate_zeros()
    return edges


def _scaled(start: Floats) -> Floats:
    """Scale to 0 … 10 in both directions, as umap-learn does."""
    low, high = start.min(axis=0), start.max(axis=0)
    extent = np.where(high > low, high - low, 1)
    return np.ascontiguousarray(10 * (start - low) / extent, np.float32)


@cache
def _epoch(is_parallel: bool) -> Any:
    """Compile umap-learn's epoch; on one core, cache it on disk for later processes."""
    _umap_()
    import numba
    from umap.layouts import _optimize_layout_euclidean_single_epoch as single_epoch

    return numba.njit(single_epoch, fastmath=True, parallel=is_parallel, cache=not is_parallel)


@cache
def _umap_() -> Any:
    """Import ``umap.umap_`` without its parametric variant, which imports Keras and PyTorch if installed."""
    variant = "umap.parametric_umap"
    sys.modules[variant] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import umap.umap_ as umap_
    finally:
        del sys.modules[variant]
    return umap_
