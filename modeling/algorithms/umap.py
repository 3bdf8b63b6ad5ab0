"""A map by UMAP: the fuzzy graph of the neighbours, and its layout in the plane, the same for a seed.

Leland McInnes, John Healy and James Melville, *UMAP: Uniform Manifold Approximation and Projection for Dimension
Reduction*, arXiv:1802.03426 (2018). The layout differs from umap-learn's in one point: within an epoch each point moves
by itself, seeing the others where they were when the epoch began. So the order of work does not matter, several cores
give the same bytes as one, and the layout can be stopped after any epoch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import curve_fit
from scipy.sparse import coo_array, csr_array

from modeling.algorithms.layout_steps import epoch
from modeling.algorithms.neighbours import Graph
from modeling.algorithms.rows import Doubles, Floats, blocks

OnEpoch = Callable[[int, int], None]
# Rows from and to.
Part = tuple[int, int]
# As in umap-learn: small collections get more rounds.
SMALL, EPOCHS_OF_SMALL, EPOCHS = 10_000, 500, 200
HALVINGS = 40
SMOOTHINGS = 100
# No point's scale is less than this share of its mean distance.
LEAST_SCALE = 1e-3
# How far apart an unlabelled and any, or two labels, count as, where labels have a say.
UNKNOWN_APART, OTHERS_APART = 1.0, 5.0


def fuzzy_graph(graph: Graph, n_neighbors: int) -> csr_array:
    """The symmetric weights (n, n) in (0, 1] that say how surely two rows are neighbours.

    Parameters
    ----------
    graph
        Of rows that all have a vector, with at least ``n_neighbors - 1`` neighbours each.
    n_neighbors
        How many count, the row itself among them; at least 2. O(n k) memory.
    """
    n, k = len(graph.indices), n_neighbors - 1
    weights = memberships(graph.distances[:, :k])
    rows = np.repeat(np.arange(n, dtype=np.int32), k)
    columns = graph.indices[:, :k].reshape(-1)
    return _union(coo_array((weights.reshape(-1), (rows, columns)), shape=(n, n)).tocsr())


def memberships(distances: Floats) -> Floats:
    """(n, k) in [0, 1] from the distances (n, k) to the nearest others: 1 for the nearest that is not a copy.

    Each row gets the scale at which its memberships sum to log2(k + 1).
    """
    result = np.empty(distances.shape, np.float32)
    k = distances.shape[1]
    mean_of_all = float(distances.mean(dtype=np.float64)) * k / (k + 1) if distances.size else 0.0
    for part in blocks(len(distances)):
        block = distances[part].astype(np.float64)
        nearest = np.where(block > 0, block, np.inf).min(axis=1)
        nearest[~np.isfinite(nearest)] = 0
        beyond = np.maximum(block - nearest[:, None], 0)
        scale = _scales(beyond)
        least = np.where(nearest > 0, block.sum(axis=1) / (k + 1), mean_of_all)
        scale = np.maximum(scale, LEAST_SCALE * least)
        with np.errstate(invalid="ignore", divide="ignore"):
            result[part] = np.where(beyond > 0, np.exp(-beyond / scale[:, None]), 1)
    return result


def _scales(beyond: Doubles) -> Doubles:
    """(b,) by halving: the scale at which the memberships of each row (b, k) sum to log2(k + 1)."""
    target = np.log2(beyond.shape[1] + 1)
    low, high = np.zeros(len(beyond)), np.full(len(beyond), np.inf)
    scale = np.ones(len(beyond))
    for _ in range(HALVINGS):
        is_too_much = np.exp(-beyond / scale[:, None]).sum(axis=1) > target
        high = np.where(is_too_much, scale, high)
        low = np.where(is_too_much, low, scale)
        scale = np.where(np.isfinite(high), (low + high) / 2, scale * 2)
    return scale


def with_labels(weights: csr_array, y: ArrayLike) -> csr_array:
    """The weights where labels ``y`` (n,) have a say, -1 for none: neighbours of different labels move apart."""
    labels = np.asarray(y, np.int64)
    pairs = weights.tocoo()
    first, second = labels[pairs.row], labels[pairs.col]
    is_unknown = (first < 0) | (second < 0)
    factor = np.where(is_unknown, np.exp(-UNKNOWN_APART), np.where(first != second, np.exp(-OTHERS_APART), 1))
    met = coo_array((pairs.data * factor.astype(np.float32), (pairs.row, pairs.col)), shape=weights.shape).tocsr()
    strongest = np.maximum(met.max(axis=1).toarray().reshape(-1), np.finfo(np.float32).tiny)
    met.data /= np.repeat(strongest, np.diff(met.indptr))
    return _union(met)


def _union(weights: csr_array) -> csr_array:
    """Neighbours if either is the other's: a + b - ab."""
    other = weights.T.tocsr()
    result = (weights + other - weights.multiply(other)).tocsr()
    result.eliminate_zeros()
    result.sort_indices()
    return result


def curve(min_dist: float, spread: float = 1.0) -> tuple[float, float]:
    """a and b of the nearness 1 / (1 + a d^(2b)) in the plane: full up to ``min_dist``, then falling off."""
    d = np.linspace(0, 3 * spread, 300)
    wanted = np.where(d < min_dist, 1.0, np.exp(-(d - min_dist) / spread))
    (a, b), _ = curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), d, wanted)
    return float(a), float(b)


def lay_out(
    weights: csr_array,
    start: Floats,
    *,
    min_dist: float,
    seed: int,
    n_epochs: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> Floats:
    """Places (n, 2) for rows of symmetric ``weights`` (n, n), from the places ``start`` (n, 2).

    ``on_epoch(done, total)`` is called after each epoch and may raise to stop. O(n k) a round; the same bytes for the
    same arguments, on however many cores.
    """
    n = weights.shape[0]
    total = n_epochs or (EPOCHS_OF_SMALL if n <= SMALL else EPOCHS)
    steps = _Steps(weights, total)
    a, b = curve(min_dist)
    places, moved = _scaled(start), np.empty((n, 2), np.float32)
    with ThreadPoolExecutor(cores()) as threads:
        for round_ in range(total):
            move = partial(steps.move, places, moved, a, b, 1 - round_ / total, round_, seed)
            list(threads.map(move, steps.parts))
            places, moved = moved, places
            if on_epoch is not None:
                on_epoch(round_ + 1, total)
    return places


class _Steps:
    """The edges in the form that an epoch wants: how often each comes, and rows cut into parts of equal work."""

    def __init__(self, weights: csr_array, n_epochs: int) -> None:
        kept = weights.copy()
        kept.data[kept.data < kept.data.max(initial=0) / n_epochs] = 0
        kept.eliminate_zeros()
        period = (kept.data.max(initial=1) / kept.data).astype(np.float32)
        self.arrays = (kept.indptr.astype(np.int64), kept.indices.astype(np.int32), period, period.copy())
        self.parts = parts_of_equal_work(self.arrays[0])

    def move(
        self, places: Floats, moved: Floats, a: float, b: float, speed: float, round_: int, seed: int, part: Part
    ) -> None:
        """One epoch of the rows of a part."""
        epoch(part[0], part[1], *self.arrays, places, moved, a, b, speed, round_, seed)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parts_of_equal_work(indptr: NDArray[np.int64]) -> list[Part]:
    """Rows from and to, a part for each core, with about as many edges (CSR) each."""
    edges = np.linspace(0, indptr[-1], cores() + 1)
    cuts = np.unique(np.r_[0, np.searchsorted(indptr, edges[1:-1]), len(indptr) - 1])
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


def _scaled(start: Floats) -> Floats:
    """From 0 to 10 in both directions, as umap-learn begins."""
    low, high = start.min(axis=0), start.max(axis=0)
    apart = np.where(high > low, high - low, 1)
    return np.ascontiguousarray(10 * (start - low) / apart, np.float32)


def smoothed(plane: Floats, weights: csr_array) -> Floats:
    """Places (n, 2) after each went half the way to the mean of its neighbours, many times: from ``plane`` (n, 2).

    Towards the slowest waves on the graph of ``weights``, which a spectral start would find exactly: neighbours begin
    side by side, and what the principal components cover up comes apart.
    """
    degree = np.maximum(np.asarray(weights.sum(axis=1), np.float64).reshape(-1), np.finfo(np.float32).tiny)
    places, exact = plane.astype(np.float64), weights.astype(np.float64)
    for _ in range(SMOOTHINGS):
        places = (places + exact @ places / degree[:, None]) / 2
        places -= (degree[:, None] * places).sum(axis=0) / degree.sum()
        # The second direction would turn into the first, and both fade.
        x = _unit(places[:, 0], degree)
        y = places[:, 1] - (degree * places[:, 1] * x).sum() * x
        places = np.stack([x, _unit(y, degree)], axis=1)
    return places.astype(np.float32)


def _unit(values: Doubles, degree: Doubles) -> Doubles:
    length = float(np.sqrt((degree * values * values).sum()))
    return values / length if length > 0 else values


def start_from(plane: Floats, seed: int) -> NDArray[np.float32]:
    """(n, 2) to begin with: two principal components (n, 2), scaled, with a little noise that parts copies."""
    rng = np.random.default_rng(seed)
    largest = float(np.abs(plane).max(initial=0)) or 1.0
    return (plane * np.float64(10 / largest) + rng.normal(scale=1e-4, size=plane.shape)).astype(np.float32)
