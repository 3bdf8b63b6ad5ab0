"""The k-NN graph of very many rows: each cell of a k-means looks into the cells around it.

An inverted file index: Josef Sivic and Andrew Zisserman, *Video Google*, ICCV 2003; Hervé Jégou, Matthijs Douze and
Cordelia Schmid, *Product quantization for nearest neighbor search*, TPAMI 33 (2011), section IV. Unlike an index
for one query at a time, all rows of a cell share their candidates, so nearly all work is in matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from modeling.algorithms.neighbors import QUERIES, Graph, Search
from modeling.algorithms.rows import Floats, Rows, blocks, in_threads, usable, whole_seed

# The cells are learnt from so many rows a cell, in so many rounds: they need to be compact, not optimal.
LEARNT_PER_CELL, ROUNDS = 40, 8
# So many rows are compared with all others, to see how far a cell has to look.
SAMPLE = 512
FEWEST_LOOKED_AT = 4


@dataclass(frozen=True)
class MeasuredGraph:
    """A k-NN graph, and which share of the true neighbours of a random sample of rows it holds."""

    graph: Graph
    recall: float


def knn_graph_by_cells(
    X: Floats,
    k: int,
    *,
    rng: np.random.Generator,
    recall: float = 0.98,
    on_progress: Callable[[int, int], None] | None = None,
) -> MeasuredGraph:
    """The k-NN graph of ``X`` (n, d) float32 by Euclidean distance, nearly all of it.

    Looks as far around each cell as a random sample of exact neighbours needs for ``recall``: about O(n^1.5 d) where
    the rows lie in clumps or near a surface, up to the exact graph's O(n^2 d) where they lie anywhere; O(n k) memory
    beside ``X``. Distances are exact. Rows that are not all finite are nobody's neighbours; with fewer rows than a
    sample everything is looked at. ``on_progress(done, total)`` counts rows and may raise to stop.
    """
    n = len(X)
    known = usable(X, np.arange(n))
    indices, distances = np.full((n, k), -1, np.int32), np.full((n, k), np.nan, np.float32)
    found = min(k, len(known) - 1)
    if found <= 0:
        return MeasuredGraph(Graph(indices, distances), 1.0)
    Z = np.asarray(X[known], np.float32)
    Z -= Z.mean(axis=0, dtype=np.float64).astype(np.float32)
    cells = _Cells(Z, rng)
    known, Z = known[cells.order], Z[cells.order]  # the rows of a cell now follow each other
    search = Search(Z, found)
    looked_at, measured = cells.reach(search, rng, recall)

    def search_cell(cell: int) -> None:
        positions = cells.around(cell, looked_at, search.keep)
        columns = search.columns[positions]
        for part in blocks(int(cells.sizes[cell]), QUERIES):
            queries = cells.starts[cell] + np.arange(part.start, part.stop)
            near, far = search.nearest(queries, columns, positions)
            indices[known[queries], :found], distances[known[queries], :found] = known[near], far

    def tell(cell: int) -> None:
        if on_progress is not None:
            on_progress(int(cells.starts[cell] + cells.sizes[cell]), len(known))

    in_threads(search_cell, range(len(cells.sizes)), tell)
    return MeasuredGraph(Graph(indices, distances), measured)


def nearest_by_cells(
    points: Floats,
    X: Floats,
    k: int,
    *,
    rng: np.random.Generator,
    recall: float = 0.98,
    on_progress: Callable[[int, int], None] | None = None,
) -> Graph:
    """The ``k`` nearest rows of ``X`` (n, d) to each of ``points`` (m, d), nearly all of them; all are finite.

    Looks as far as the rows of ``X`` have to for that ``recall`` among themselves. O(n + m) memory beside the result,
    m being read in blocks. Fewer than k rows leave -1 and NaN. ``on_progress(done, total)`` may raise to stop.
    """
    indices, distances = np.full((len(points), k), -1, np.int32), np.full((len(points), k), np.nan, np.float32)
    found = min(k, len(X))
    if found <= 0 or not len(points):
        return Graph(indices, distances)
    middle = X.mean(axis=0, dtype=np.float64).astype(np.float32)
    cells = _Cells(X - middle, rng)
    search = Search(X[cells.order] - middle, found)
    looked_at, _ = cells.reach(search, rng, recall)
    cell = np.concatenate([cells.nearest(points[part] - middle) for part in blocks(len(points))])
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(len(cells.sizes) + 1))

    def search_cell(own: int) -> None:
        positions = cells.around(own, looked_at, search.keep)
        columns = search.columns[positions]
        for part in blocks(int(starts[own + 1] - starts[own]), QUERIES):
            rows = order[starts[own] + part.start : starts[own] + part.stop]
            near, far = search.nearest_to(points[rows] - middle, columns, positions)
            indices[rows, :found], distances[rows, :found] = cells.order[near], far

    def tell(own: int) -> None:
        if on_progress is not None:
            on_progress(int(starts[own + 1]), len(points))

    in_threads(search_cell, np.flatnonzero(np.diff(starts)).tolist(), tell)
    return Graph(indices, distances)


class _Cells:
    """A k-means of rows (n, d): ``order`` sorts rows by cell, ``near`` lists for each cell all cells by distance."""

    def __init__(self, Z: Floats, rng: np.random.Generator) -> None:
        n_cells = max(1, round(len(Z) ** 0.5))
        drawn = rng.choice(len(Z), min(len(Z), LEARNT_PER_CELL * n_cells), replace=False)
        distinct = np.unique(Z[drawn], axis=0)
        n_cells = min(n_cells, len(distinct))
        means = KMeans(n_cells, init="random", n_init=1, max_iter=ROUNDS, random_state=whole_seed(rng)).fit(distinct)
        centres = np.unique(means.cluster_centers_.astype(np.float32), axis=0)
        self.centres = centres
        self.half = half = np.einsum("ij,ij->i", centres, centres) / 2
        cell = np.empty(len(Z), np.int64)
        for part in blocks(len(Z)):
            cell[part] = self.nearest(Z[part])
        self.order: Rows = np.argsort(cell, kind="stable")
        self.sizes: NDArray[np.int64] = np.bincount(cell, minlength=len(centres))
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.near: Rows = np.argsort(half - centres @ centres.T, axis=1, kind="stable")
        # Its own cell comes first, whatever rounding says of two centres that nearly coincide.
        self.near = np.array([[own, *row[row != own]] for own, row in enumerate(self.near)])

    def nearest(self, points: Floats) -> Rows:
        """The cell (b,) that each of the points (b, d) lies in."""
        return np.asarray((self.half - points @ self.centres.T).argmin(axis=1), np.int64)

    def around(self, cell: int, n: int, at_least: int) -> Rows:
        """Positions of the rows of the ``n`` cells nearest to one; of more cells until there are ``at_least``."""
        enough = int(np.searchsorted(np.cumsum(self.sizes[self.near[cell]]), at_least)) + 1
        chosen = self.near[cell, : max(n, enough)]
        return np.concatenate([np.arange(self.starts[c], self.starts[c] + self.sizes[c]) for c in chosen])

    def reach(self, search: Search, rng: np.random.Generator, recall: float) -> tuple[int, float]:
        """How many cells to look at so that a sample's neighbours are found with that ``recall``; the one reached."""
        n = int(self.sizes.sum())
        sample = np.sort(rng.choice(n, min(n, SAMPLE), replace=False))
        near, _ = search.nearest(sample, search.columns, np.arange(n))
        cell = np.repeat(np.arange(len(self.sizes)), self.sizes)
        place = np.empty_like(self.near)
        np.put_along_axis(place, self.near, np.arange(len(self.sizes))[None, :], axis=1)
        needed = np.sort(place[cell[sample][:, None], cell[near]], axis=None) + 1
        looked_at = max(FEWEST_LOOKED_AT, int(needed[min(len(needed) - 1, int(np.ceil(recall * len(needed))) - 1)]))
        return looked_at, float((needed <= looked_at).mean())
