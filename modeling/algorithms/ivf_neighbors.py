"""Compute the approximate k-NN graph of very many rows with an inverted file of k-means cells.

An inverted file index (IVF): Josef Sivic and Andrew Zisserman, *Video Google*, ICCV 2003; Hervé Jégou, Matthijs Douze
and Cordelia Schmid, *Product quantization for nearest neighbor search*, TPAMI 33 (2011), section IV. Unlike in an index
for single queries, all rows of a cell share their candidates, so nearly all work is in matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from modeling.algorithms.neighbors import QUERIES, Graph, Search
from modeling.algorithms.rows import Floats, Rows, blocks, run_in_threads, sklearn_seed, usable

# Training rows per cell and k-means iterations: cells need to be compact, not optimal.
TRAINING_ROWS_PER_CELL, ITERATIONS = 40, 8
# This many rows are compared with all others, to determine how many cells to probe.
SAMPLE = 512
MIN_PROBES = 4


@dataclass(frozen=True)
class MeasuredGraph:
    """A k-NN graph and its recall: the share of true neighbors of a random sample of rows that it holds."""

    graph: Graph
    recall: float


def approximate_knn_graph(
    X: Floats,
    k: int,
    *,
    rng: np.random.Generator,
    recall: float = 0.98,
    most_probes: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> MeasuredGraph:
    """Compute the k-NN graph of ``X`` (n, d) float32 by Euclidean distance, up to the requested recall.

    Probes as many cells as a random sample of exact neighbors needs for ``recall``: about O(n^1.5 d) if the rows form
    clusters or lie near a surface, up to the O(n^2 d) of the exact graph if they do not; O(n k) memory besides ``X``.
    With ``most_probes`` it probes no more cells than these, whatever the recall, which is O(n^1.5 d) for any rows.
    Distances are exact. Rows that are not finite are no row's neighbors. With fewer rows than a sample, all cells are
    probed. ``on_progress(done, total)`` counts rows and may raise to stop.
    """
    n = len(X)
    valid = usable(X, np.arange(n))
    indices, distances = np.full((n, k), -1, np.int32), np.full((n, k), np.nan, np.float32)
    n_neighbors = min(k, len(valid) - 1)
    if n_neighbors <= 0:
        return MeasuredGraph(Graph(indices, distances), 1.0)
    Z = np.asarray(X[valid], np.float32)
    Z -= Z.mean(axis=0, dtype=np.float64).astype(np.float32)
    cells = _InvertedFile(Z, rng)
    valid, Z = valid[cells.order], Z[cells.order]  # the rows of a cell are now adjacent
    search = Search(Z, n_neighbors)
    n_probes, measured = cells.choose_probes(search, rng, recall, most_probes)

    def search_cell(cell: int) -> None:
        positions = cells.around(cell, n_probes, search.n_candidates)
        columns = search.columns[positions]
        for part in blocks(int(cells.sizes[cell]), QUERIES):
            queries = cells.starts[cell] + np.arange(part.start, part.stop)
            neighbors, neighbor_distances = search.nearest(queries, columns, positions)
            indices[valid[queries], :n_neighbors], distances[valid[queries], :n_neighbors] = (
                valid[neighbors],
                neighbor_distances,
            )

    def report(cell: int) -> None:
        if on_progress is not None:
            on_progress(int(cells.starts[cell] + cells.sizes[cell]), len(valid))

    run_in_threads(search_cell, range(len(cells.sizes)), report)
    return MeasuredGraph(Graph(indices, distances), measured)


def approximate_nearest(
    points: Floats,
    X: Floats,
    k: int,
    *,
    rng: np.random.Generator,
    recall: float = 0.98,
    on_progress: Callable[[int, int], None] | None = None,
) -> Graph:
    """Find the ``k`` nearest rows of ``X`` (n, d) to each of ``points`` (m, d), all finite, up to the requested recall.

    Probes as many cells as the rows of ``X`` need for that ``recall`` among themselves. O(n + m) memory besides the
    result; ``points`` are read in blocks. With fewer than k rows, the rest is -1 and NaN. ``on_progress(done, total)``
    may raise to stop.
    """
    indices, distances = np.full((len(points), k), -1, np.int32), np.full((len(points), k), np.nan, np.float32)
    n_neighbors = min(k, len(X))
    if n_neighbors <= 0 or not len(points):
        return Graph(indices, distances)
    center = X.mean(axis=0, dtype=np.float64).astype(np.float32)
    cells = _InvertedFile(X - center, rng)
    search = Search(X[cells.order] - center, n_neighbors)
    n_probes, _ = cells.choose_probes(search, rng, recall)
    cell = np.concatenate([cells.nearest(points[part] - center) for part in blocks(len(points))])
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(len(cells.sizes) + 1))

    def search_cell(own: int) -> None:
        positions = cells.around(own, n_probes, search.n_candidates)
        columns = search.columns[positions]
        for part in blocks(int(starts[own + 1] - starts[own]), QUERIES):
            rows = order[starts[own] + part.start : starts[own] + part.stop]
            neighbors, neighbor_distances = search.nearest_to(points[rows] - center, columns, positions)
            indices[rows, :n_neighbors], distances[rows, :n_neighbors] = cells.order[neighbors], neighbor_distances

    def report(own: int) -> None:
        if on_progress is not None:
            on_progress(int(starts[own + 1]), len(points))

    run_in_threads(search_cell, np.flatnonzero(np.diff(starts)).tolist(), report)
    return Graph(indices, distances)


class _InvertedFile:
    """K-means cells of rows (n, d). ``order`` sorts rows by cell; ``near`` lists, per cell, all cells by distance."""

    def __init__(self, Z: Floats, rng: np.random.Generator) -> None:
        n_cells = max(1, round(len(Z) ** 0.5))
        sample = rng.choice(len(Z), min(len(Z), TRAINING_ROWS_PER_CELL * n_cells), replace=False)
        distinct = np.unique(Z[sample], axis=0)
        n_cells = min(n_cells, len(distinct))
        kmeans = KMeans(n_cells, init="random", n_init=1, max_iter=ITERATIONS, random_state=sklearn_seed(rng)).fit(
            distinct
        )
        centers = np.unique(kmeans.cluster_centers_.astype(np.float32), axis=0)
        self.centers = centers
        self.half = half = np.einsum("ij,ij->i", centers, centers) / 2
        cell = np.empty(len(Z), np.int64)
        for part in blocks(len(Z)):
            cell[part] = self.nearest(Z[part])
        self.order: Rows = np.argsort(cell, kind="stable")
        self.sizes: NDArray[np.int64] = np.bincount(cell, minlength=len(centers))
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.near: Rows = np.argsort(half - centers @ centers.T, axis=1, kind="stable")
        # A cell is its own nearest, even if rounding puts a nearly coincident center first.
        self.near = np.array([[own, *row[row != own]] for own, row in enumerate(self.near)])

    def nearest(self, points: Floats) -> Rows:
        """Return the cell (b,) of each of the points (b, d)."""
        return np.asarray((self.half - points @ self.centers.T).argmin(axis=1), np.int64)

    def around(self, cell: int, n: int, at_least: int) -> Rows:
        """Return the rows of the ``n`` cells nearest to ``cell``, of more cells until ``at_least`` rows."""
        n_needed = int(np.searchsorted(np.cumsum(self.sizes[self.near[cell]]), at_least)) + 1
        chosen = self.near[cell, : max(n, n_needed)]
        return np.concatenate([np.arange(self.starts[c], self.starts[c] + self.sizes[c]) for c in chosen])

    def choose_probes(
        self, search: Search, rng: np.random.Generator, recall: float, most: int | None = None
    ) -> tuple[int, float]:
        """Return how many cells to probe, at ``most``, so that a sample reaches ``recall``, and the recall reached."""
        n = int(self.sizes.sum())
        sample = np.sort(rng.choice(n, min(n, SAMPLE), replace=False))
        near, _ = search.nearest(sample, search.columns, np.arange(n))
        cell = np.repeat(np.arange(len(self.sizes)), self.sizes)
        rank = np.empty_like(self.near)
        np.put_along_axis(rank, self.near, np.arange(len(self.sizes))[None, :], axis=1)
        needed = np.sort(rank[cell[sample][:, None], cell[near]], axis=None) + 1
        n_probes = max(MIN_PROBES, int(needed[min(len(needed) - 1, int(np.ceil(recall * len(needed))) - 1)]))
        n_probes = n_probes if most is None else min(n_probes, most)
        return n_probes, float((needed <= n_probes).mean())
