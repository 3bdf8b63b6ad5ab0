"""Project vectors on their principal components, and compute the exact k-NN graph that maps and outliers share.

The components are found by a randomized projection: Nathan Halko, Per-Gunnar Martinsson and Joel Tropp, *Finding
structure with randomness*, SIAM Review 53 (2011), through scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.rows import Floats, Rows, blocks, run_in_threads, sklearn_seed, usable

N_COMPONENTS = 64
# Components are fitted to at most this many rows; more do not change them visibly.
FIT_ROWS = 20_000
QUERIES = 512
COLUMNS = 4096


@dataclass(frozen=True)
class Graph:
    """A k-NN graph: the k nearest neighbors of each row by Euclidean distance, nearest first, without the row itself.

    Rows without a vector, and columns beyond the number of other rows, hold -1 and NaN.
    """

    indices: NDArray[np.int32]  # (n, k)
    distances: Floats  # (n, k)


def project(
    X: Floats,
    *,
    rng: np.random.Generator,
    dims: int = N_COMPONENTS,
    has: NDArray[np.bool_] | None = None,
    is_unit: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """Project ``X`` (n, d) on its ``dims`` principal components: (n, min(dims, d)) float32, not whitened.

    The components are fitted to up to 20,000 rows sampled with ``rng``. Rows that are not finite, and those where
    ``has`` (n,) is false, become NaN. ``X`` may be memory-mapped and is read in blocks. If there are fewer than two
    usable rows, or ``X`` has at most ``dims`` columns, the columns stay as they are. With ``is_unit``, rows are scaled
    to unit length first; rows of zeros, which have no direction, become NaN. ``on_progress(done, total)`` counts rows
    and may raise to stop.
    """
    d = X.shape[1]
    valid = usable(X, np.arange(len(X)) if has is None else np.flatnonzero(has))
    prepare = _directions if is_unit else np.asarray
    if d <= dims:
        result = np.full((len(X), d), np.nan, np.float32)
        result[valid] = prepare(X[valid])
        return result
    result = np.full((len(X), dims), np.nan, np.float32)
    if len(valid) < 2:
        result[valid] = prepare(X[valid])[:, :dims]
        return result
    sample = valid if len(valid) <= FIT_ROWS else np.sort(rng.choice(valid, FIT_ROWS, replace=False))
    n_components = min(dims, len(sample))
    fit_rows = prepare(X[sample])
    if is_unit:
        fit_rows = fit_rows[np.isfinite(fit_rows[:, 0])]
        n_components = min(n_components, len(fit_rows))
        if n_components < 2:
            return np.full((len(X), dims), np.nan, np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):  # if all rows are equal, the total variance is zero
        from sklearn.decomposition import PCA  # slow to import, and every process imports this module

        pca = PCA(n_components, svd_solver="randomized", random_state=sklearn_seed(rng)).fit(fit_rows)
    axes, mean = pca.components_.astype(np.float32), pca.mean_.astype(np.float32)
    result[valid] = 0
    for part in blocks(len(valid)):
        rows = valid[part]
        result[rows, :n_components] = (prepare(X[rows]) - mean) @ axes.T
        if on_progress is not None:
            on_progress(part.stop, len(valid))
    return result


def _directions(block: Floats) -> Floats:
    """Scale rows (b, d) to unit length; rows of zeros become NaN."""
    lengths = np.linalg.norm(block, axis=1, keepdims=True)
    return (block / np.where(lengths > 0, lengths, np.nan)).astype(np.float32)


def knn_graph(X: Floats, k: int, *, on_progress: Callable[[int, int], None] | None = None) -> Graph:
    """Compute the exact k-NN graph of ``X`` (n, d) float32 by Euclidean distance; project ``X`` first.

    O(n^2 d) time in matrix products, O(n k) memory. Ties are broken deterministically. Rows that are not finite are no
    row's neighbors. ``on_progress(done, total)`` counts rows and may raise to stop.
    """
    n = len(X)
    valid = usable(X, np.arange(n))
    indices = np.full((n, max(k, 0)), -1, np.int32)
    distances = np.full((n, max(k, 0)), np.nan, np.float32)
    n_neighbors = min(k, len(valid) - 1)
    if n_neighbors > 0:
        Z = np.asarray(X[valid], np.float32)
        Z = Z - Z.mean(axis=0, dtype=np.float64).astype(np.float32)
        search = Search(Z, n_neighbors)
        order = _spread_first(len(Z))
        columns = search.columns[order]

        def search_part(part: slice) -> None:
            neighbors, neighbor_distances = search.nearest(np.arange(part.start, part.stop), columns, order)
            indices[valid[part], :n_neighbors] = valid[neighbors]
            distances[valid[part], :n_neighbors] = neighbor_distances

        def report(part: slice) -> None:
            if on_progress is not None:
                on_progress(part.stop, len(valid))

        run_in_threads(search_part, list(blocks(len(valid), QUERIES)), report)
    return Graph(indices, distances)


def subgraph(graph: Graph, rows: Rows, k: int) -> Graph:
    """Return the ``k`` nearest neighbors of ascending ``rows`` (m,), all of them in ``rows``, as positions in it."""
    if len(rows) == len(graph.indices):
        return Graph(graph.indices[:, :k], graph.distances[:, :k])
    position = np.full(len(graph.indices) + 1, -1, np.int32)  # the last entry maps -1 to -1
    position[rows] = np.arange(len(rows), dtype=np.int32)
    return Graph(position[graph.indices[rows, :k]], graph.distances[rows, :k])


def _spread_first(n: int) -> Rows:
    """Return all positions, first an even subset: the first tile sets the distance limits."""
    first = np.arange(0, n, max(1, n // COLUMNS))
    return np.concatenate([first, np.setdiff1d(np.arange(n), first, assume_unique=True)])


class Search:
    """Search nearest rows by matrix products with tiles of columns and a distance limit that few rows pass."""

    def __init__(self, Z: Floats, k: int) -> None:
        self.Z, self.n_candidates, self.k = Z, min(k + 2, len(Z)), k  # the row itself, and one more against rounding
        # With 1 appended to the query, one product gives half the squared distance minus the query's own term.
        half = np.einsum("ij,ij->i", Z, Z) / 2
        self.columns = np.hstack([-Z, half[:, None]])

    def nearest(self, queries: Rows, columns: Floats, positions: Rows) -> tuple[Rows, Floats]:
        """Return positions and distances (b, k) of the k nearest other rows of ``queries`` (b,), nearest first.

        Candidates are the rows at ``positions`` (at least k + 2), with their ``columns``; fastest with likely neighbors
        first.
        """
        return self.nearest_to(self.Z[queries], columns, positions, own=queries)

    def nearest_to(
        self, points: Floats, columns: Floats, positions: Rows, *, own: Rows | None = None
    ) -> tuple[Rows, Floats]:
        """Search as `nearest` does for any ``points`` (b, d). Their ``own`` positions (b,), if any, are left out."""
        queries = np.hstack([points, np.ones((len(points), 1), np.float32)])
        first = max(COLUMNS, self.n_candidates)
        costs = queries @ columns[:first].T
        best = np.argpartition(costs, self.n_candidates - 1, axis=1)[:, : self.n_candidates]
        cost = np.take_along_axis(costs, best, axis=1)
        for begin in range(first, len(columns), COLUMNS):
            costs = queries @ columns[begin : begin + COLUMNS].T
            passing = np.flatnonzero(costs < cost.max(axis=1, keepdims=True))  # flat indices: several times faster
            if len(passing):
                query, column = np.divmod(passing, costs.shape[1])
                best, cost = self._merge(best, cost, query, column + begin, costs[query, column])
        return self._sort_exactly(points, positions[best], own)

    def _merge(self, best: Rows, cost: Floats, query: Rows, column: Rows, better: Floats) -> tuple[Rows, Floats]:
        """Return the best of the previous candidates (b, n_candidates) and the pairs (query, column), unsorted."""
        counts = np.bincount(query, minlength=len(best))
        slot = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (len(best), int(counts.max()))
        more, more_cost = np.zeros(shape, np.int64), np.full(shape, np.inf, np.float32)
        more[query, slot], more_cost[query, slot] = column, better
        best, cost = np.hstack([best, more]), np.hstack([cost, more_cost])
        selected = np.argpartition(cost, self.n_candidates - 1, axis=1)[:, : self.n_candidates]
        return np.take_along_axis(best, selected, axis=1), np.take_along_axis(cost, selected, axis=1)

    def _sort_exactly(self, points: Floats, candidates: Rows, own: Rows | None) -> tuple[Rows, Floats]:
        """Sort by distances computed from differences: the products lose those of near-duplicates to rounding."""
        candidates = np.sort(candidates, axis=1)
        distances = np.empty(candidates.shape, np.float32)
        for column in range(candidates.shape[1]):
            difference = self.Z[candidates[:, column]] - points
            distances[:, column] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        if own is not None:
            distances[candidates == own[:, None]] = np.inf
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.k]
        return np.take_along_axis(candidates, nearest, axis=1), np.take_along_axis(distances, nearest, axis=1)
