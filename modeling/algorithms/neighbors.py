"""Principal components of vectors, and the k-NN graph on them that maps and outliers share. All exact here.

The components are found by a randomised projection: Nathan Halko, Per-Gunnar Martinsson and Joel Tropp,
*Finding structure with randomness*, SIAM Review 53 (2011), through scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from modeling.algorithms.rows import Floats, Rows, blocks, in_threads, usable, whole_seed

PROJECTED = 64
# Components are learnt from at most so many rows; more do not change them visibly.
LEARNT_FROM = 20_000
QUERIES = 512
COLUMNS = 4096


@dataclass(frozen=True)
class Graph:
    """The k nearest neighbours of each row by Euclidean distance, nearest first, itself left out.

    Rows that have no vector, and places beyond the number of other rows, hold -1 and NaN.
    """

    indices: NDArray[np.int32]  # (n, k)
    distances: Floats  # (n, k)


def project(
    X: Floats,
    *,
    rng: np.random.Generator,
    dims: int = PROJECTED,
    has: NDArray[np.bool_] | None = None,
    is_unit: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """``X`` (n, d) on its ``dims`` principal components: (n, min(dims, d)) float32, unwhitened.

    The components come from up to 20,000 rows drawn by ``rng``. Rows that are not all finite, and those where
    ``has`` (n,) is false, become NaN. ``X`` may be memory-mapped and is read in blocks. With
    fewer than two usable rows, or when ``X`` is no wider than ``dims``, the columns are kept as they are. With
    ``is_unit`` rows count by their direction alone, brought to length one; rows of zeros, which have none, become NaN.
    ``on_progress(done, total)`` counts rows and may raise to stop.
    """
    d = X.shape[1]
    known = usable(X, np.arange(len(X)) if has is None else np.flatnonzero(has))
    taken = _directions if is_unit else np.asarray
    if d <= dims:
        result = np.full((len(X), d), np.nan, np.float32)
        result[known] = taken(X[known])
        return result
    result = np.full((len(X), dims), np.nan, np.float32)
    if len(known) < 2:
        result[known] = taken(X[known])[:, :dims]
        return result
    drawn = known if len(known) <= LEARNT_FROM else np.sort(rng.choice(known, LEARNT_FROM, replace=False))
    n_components = min(dims, len(drawn))
    learnt_from = taken(X[drawn])
    if is_unit:
        learnt_from = learnt_from[np.isfinite(learnt_from[:, 0])]
        n_components = min(n_components, len(learnt_from))
        if n_components < 2:
            return np.full((len(X), dims), np.nan, np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):  # equal rows have no variance to share out
        pca = PCA(n_components, svd_solver="randomized", random_state=whole_seed(rng)).fit(learnt_from)
    axes, mean = pca.components_.astype(np.float32), pca.mean_.astype(np.float32)
    result[known] = 0
    for part in blocks(len(known)):
        some = known[part]
        result[some, :n_components] = (taken(X[some]) - mean) @ axes.T
        if on_progress is not None:
            on_progress(part.stop, len(known))
    return result


def _directions(block: Floats) -> Floats:
    """Rows (b, d) at length one; NaN where there is no direction."""
    lengths = np.linalg.norm(block, axis=1, keepdims=True)
    return (block / np.where(lengths > 0, lengths, np.nan)).astype(np.float32)


def knn_graph(X: Floats, k: int, *, on_progress: Callable[[int, int], None] | None = None) -> Graph:
    """The exact k-NN graph of ``X`` (n, d) float32 by Euclidean distance, best given a projection.

    O(n^2 d) time in matrix products, O(n k) memory; ties go the same way every time. Rows that are not all
    finite are nobody's neighbours. ``on_progress(done, total)`` counts rows and may raise to stop.
    """
    n = len(X)
    known = usable(X, np.arange(n))
    indices = np.full((n, max(k, 0)), -1, np.int32)
    distances = np.full((n, max(k, 0)), np.nan, np.float32)
    found = min(k, len(known) - 1)
    if found > 0:
        Z = np.asarray(X[known], np.float32)
        Z = Z - Z.mean(axis=0, dtype=np.float64).astype(np.float32)
        search = Search(Z, found)
        order = _spread_first(len(Z))
        columns = search.columns[order]

        def search_part(part: slice) -> None:
            near, far = search.nearest(np.arange(part.start, part.stop), columns, order)
            indices[known[part], :found] = known[near]
            distances[known[part], :found] = far

        def tell(part: slice) -> None:
            if on_progress is not None:
                on_progress(part.stop, len(known))

        in_threads(search_part, list(blocks(len(known), QUERIES)), tell)
    return Graph(indices, distances)


def among(graph: Graph, rows: Rows, k: int) -> Graph:
    """The ``k`` nearest of ascending ``rows`` (m,), all whose neighbours are among them, as positions in ``rows``."""
    if len(rows) == len(graph.indices):
        return Graph(graph.indices[:, :k], graph.distances[:, :k])
    position = np.full(len(graph.indices) + 1, -1, np.int32)  # the last one: -1 stays -1
    position[rows] = np.arange(len(rows), dtype=np.int32)
    return Graph(position[graph.indices[rows, :k]], graph.distances[rows, :k])


def _spread_first(n: int) -> Rows:
    """All positions; the first tile of them sets the limits, so it is spread over the whole."""
    first = np.arange(0, n, max(1, n // COLUMNS))
    return np.concatenate([first, np.setdiff1d(np.arange(n), first, assume_unique=True)])


class Search:
    """Nearest rows of some rows, by products with tiles of columns and a limit that few pass."""

    def __init__(self, Z: Floats, k: int) -> None:
        self.Z, self.keep, self.k = Z, min(k + 2, len(Z)), k  # the row itself, and one to spare for rounding
        # With 1 appended to the query, one product gives half the squared distance less the query's own part.
        half = np.einsum("ij,ij->i", Z, Z) / 2
        self.columns = np.hstack([-Z, half[:, None]])

    def nearest(self, queries: Rows, columns: Floats, positions: Rows) -> tuple[Rows, Floats]:
        """The k nearest others of the rows ``queries`` (b,): positions and distances (b, k), nearest first.

        They come from ``positions``, at least k + 2 of them, whose columns are ``columns``; best with the likely
        ones first.
        """
        return self.nearest_to(self.Z[queries], columns, positions, own=queries)

    def nearest_to(
        self, points: Floats, columns: Floats, positions: Rows, *, own: Rows | None = None
    ) -> tuple[Rows, Floats]:
        """The same for any ``points`` (b, d); their ``own`` positions (b,), where they have any, are left out."""
        asking = np.hstack([points, np.ones((len(points), 1), np.float32)])
        first = max(COLUMNS, self.keep)
        costs = asking @ columns[:first].T
        best = np.argpartition(costs, self.keep - 1, axis=1)[:, : self.keep]
        cost = np.take_along_axis(costs, best, axis=1)
        for begin in range(first, len(columns), COLUMNS):
            costs = asking @ columns[begin : begin + COLUMNS].T
            passing = np.flatnonzero(costs < cost.max(axis=1, keepdims=True))  # flat: several times as quick
            if len(passing):
                query, column = np.divmod(passing, costs.shape[1])
                best, cost = self._merged(best, cost, query, column + begin, costs[query, column])
        return self._measured(points, positions[best], own)

    def _merged(self, best: Rows, cost: Floats, query: Rows, column: Rows, better: Floats) -> tuple[Rows, Floats]:
        """The least costly of what was found before (b, keep) and of the pairs (query, column), in no order."""
        counts = np.bincount(query, minlength=len(best))
        place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (len(best), int(counts.max()))
        more, more_cost = np.zeros(shape, np.int64), np.full(shape, np.inf, np.float32)
        more[query, place], more_cost[query, place] = column, better
        best, cost = np.hstack([best, more]), np.hstack([cost, more_cost])
        kept = np.argpartition(cost, self.keep - 1, axis=1)[:, : self.keep]
        return np.take_along_axis(best, kept, axis=1), np.take_along_axis(cost, kept, axis=1)

    def _measured(self, points: Floats, found: Rows, own: Rows | None) -> tuple[Rows, Floats]:
        """Sort by distances taken from differences, which the products round away between near-copies."""
        found = np.sort(found, axis=1)
        apart = np.empty(found.shape, np.float32)
        for column in range(found.shape[1]):
            difference = self.Z[found[:, column]] - points
            apart[:, column] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        if own is not None:
            apart[found == own[:, None]] = np.inf
        nearest = np.argsort(apart, axis=1, kind="stable")[:, : self.k]
        return np.take_along_axis(found, nearest, axis=1), np.take_along_axis(apart, nearest, axis=1)
