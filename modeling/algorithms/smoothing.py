"""Smooth rows and logits over the k-NN graph, so that a classifier also learns from unlabeled neighbors.

A row is replaced by a weighted mean of itself and its neighbors, repeatedly: a low-pass filter on the graph (Hu, Gripon
and Pateux, *Graph-based interpolation of feature vectors for accurate few-shot classification*, ICPR 2020; Wu et al.,
*Simplifying graph convolutional networks*, ICML 2019). No labels are involved, so what is held out stays held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from modeling.algorithms.neighbors import Graph
from modeling.algorithms.rows import Floats, Rows, run_in_threads

# Numbers of steps to choose from: 0 leaves rows as they are. One step is rarely worse than none on any collection.
STEPS = (0, 1, 2, 4, 8)
DEFAULT_STEPS = 1
N_NEIGHBORS = 15
# The distance at which a weight is 1/e, as a share of the distance to the last neighbor.
BANDWIDTH = 0.7
# Smaller weights of a labeled row are dropped: otherwise each of its rows would mix ten thousands of others.
MIN_WEIGHT = 1e-3
# Number of columns smoothed at once, so that a million rows of a hundred classes fit in memory.
COLUMNS = 16
# Number of rows that a thread multiplies at once.
BAND = 50_000


class SmoothedRows(Protocol):
    """A function that returns labeled rows (m, d), or those at ``positions``, after a number of steps."""

    def __call__(self, steps: int, positions: Rows | None = None) -> Floats: ...


@dataclass(frozen=True)
class Smoothing:
    """A step of smoothing: half a row, half the weighted mean of its neighbors.

    ``step`` (n, n) holds the weights of a step; its rows sum to 1. Rows without neighbors stay as they are. Its row and
    column i are those of row ``order[i]``: neighbors are close to each other in memory (reverse Cuthill-McKee), which
    makes a product with a million rows several times faster than in the order of the items.
    """

    step: csr_array[Any]
    order: NDArray[np.int32]

    @classmethod
    def of(cls, graph: Graph, n_neighbors: int = N_NEIGHBORS) -> Smoothing:
        """Return the smoothing over the nearest ``n_neighbors`` of a graph, made symmetric by the larger weight.

        The weight of a neighbor at distance d is ``exp(-(d / (0.7 d_k))²)``, where d_k is the distance of the k-th.
        """
        n = len(graph.indices)
        k = min(n_neighbors, graph.indices.shape[1])
        indices, distances = graph.indices[:, :k], graph.distances[:, :k]
        is_edge = indices >= 0
        scale = np.nanmax(np.where(is_edge, distances, 0), axis=1, initial=0) * BANDWIDTH
        with np.errstate(invalid="ignore", divide="ignore"):
            weights = np.exp(-np.square(np.where(scale[:, None] > 0, distances / scale[:, None], 0)))
        starts = np.concatenate([[0], np.cumsum(is_edge.sum(axis=1))])
        near = csr_array((weights[is_edge].astype(np.float32), indices[is_edge], starts), shape=(n, n))
        near = near.maximum(near.T).tocsr()
        totals = near.sum(axis=1)
        near.data *= np.repeat((0.5 / np.where(totals > 0, totals, 1)).astype(np.float32), np.diff(near.indptr))
        own = np.where(totals > 0, 0.5, 1).astype(np.float32)
        step = (near + csr_array((own, np.arange(n), np.arange(n + 1)), shape=(n, n))).tocsr()
        order = reverse_cuthill_mckee(step, symmetric_mode=True)
        step = step[order][:, order].tocsr()
        step.sort_indices()
        return cls(step, order)

    def smooth(self, values: Floats, steps: int) -> None:
        """Replace ``values`` (n, c), which may be memory-mapped, by those after a number of steps."""
        n = self.step.shape[0]
        bands = [slice(start, min(start + BAND, n)) for start in range(0, n, BAND)]
        for first in range(0, values.shape[1], COLUMNS):
            part = np.ascontiguousarray(values[self.order, first : first + COLUMNS])
            smoothed = np.empty_like(part)
            for _ in range(steps):

                def multiply(band: slice, before: Floats = part, after: Floats = smoothed) -> None:
                    after[band] = self._rows(band) @ before

                run_in_threads(multiply, bands, lambda _: None)
                part, smoothed = smoothed, part
            values[self.order, first : first + COLUMNS] = part

    def _rows(self, band: slice) -> csr_array[Any]:
        """Return rows of ``step`` without a copy, which the constructor of a sparse array would make."""
        starts = self.step.indptr[band.start : band.stop + 1]
        inside = slice(starts[0], starts[-1])
        rows = csr_array((len(starts) - 1, self.step.shape[1]), dtype=self.step.dtype)
        rows.data, rows.indices, rows.indptr = self.step.data[inside], self.step.indices[inside], starts - starts[0]
        return rows

    def weights(self, rows: Rows, steps: int) -> csr_array[Any]:
        """Return the weights (m, n) with which ``rows`` (m,) mix all rows, without those below `MIN_WEIGHT`."""
        n = self.step.shape[0]
        places = np.empty(n, np.int32)
        places[self.order] = np.arange(n, dtype=np.int32)
        mixed = csr_array(
            (np.ones(len(rows), np.float32), places[rows], np.arange(len(rows) + 1)), shape=(len(rows), n)
        )
        for _ in range(steps):
            mixed = mixed @ self.step
            mixed.data[mixed.data < MIN_WEIGHT] = 0
            mixed.eliminate_zeros()
        totals: NDArray[np.float32] = mixed.sum(axis=1)
        mixed.data /= np.repeat(totals, np.diff(mixed.indptr))
        return csr_array((mixed.data, self.order[mixed.indices], mixed.indptr), shape=(len(rows), n))


def smoothed_rows(smoothing: Smoothing, X: Floats, rows: Rows) -> SmoothedRows:
    """Return a function that gives ``rows`` (m,) of ``X`` (n, d), or those at some positions, after some steps."""

    def smoothed(steps: int, positions: Rows | None = None) -> Floats:
        chosen = rows if positions is None else rows[positions]
        if not steps:
            return np.asarray(X[chosen])
        weights = smoothing.weights(chosen, steps)
        used, columns = np.unique(weights.indices, return_inverse=True)
        nearby = csr_array((weights.data, columns, weights.indptr), shape=(len(chosen), len(used)))
        return np.asarray(nearby @ X[used])

    return smoothed
