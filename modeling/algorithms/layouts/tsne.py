"""Lay out a map by t-SNE with grid-interpolated repulsion, reproducible for a seed on any number of cores.

Laurens van der Maaten and Geoffrey Hinton, *Visualizing data using t-SNE*, JMLR 9 (2008); George Linderman, Manas
Rachh, Jeremy Hoskins, Stefan Steinerberger and Yuval Kluger, *Fast interpolation-based t-SNE for improved visualization
of single-cell RNA-seq data*, Nature Methods 16 (2019); initialization and learning rate after Dmitry Kobak and Philipp
Berens, *The art of using t-SNE for single-cell transcriptomics*, Nature Communications 10 (2019).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.sparse import coo_array, csr_array

from modeling.algorithms.layouts.kernels import NODES, gather, pulls, pushes_of_all, spread
from modeling.algorithms.neighbors import Graph
from modeling.algorithms.rows import Doubles, Floats, blocks, cores

# First row and end (exclusive).
Part = tuple[int, int]
ITERATIONS, EARLY, EXAGGERATION = 750, 250, 12.0
MIN_LEARNING_RATE = 50.0
BISECTIONS = 40
# Up to this many points, the repulsion of all pairs is as fast as the grid.
EXACT_LIMIT = 5000
# Grid boxes per unit of the map, within the limits.
BOXES_PER_UNIT, MIN_BOXES, MAX_BOXES = 1.5, 50, 250


def affinities(graph: Graph, perplexity: float) -> csr_array:
    """Return the symmetric probabilities (n, n) that two rows are neighbors; they sum to 1.

    ``graph`` holds about three times ``perplexity`` neighbors of each row. The Gaussian of each row is as wide as the
    perplexity requires. O(n k) memory.
    """
    n, k = graph.indices.shape
    conditional = np.empty((n, k), np.float32)
    for part in blocks(n):
        conditional[part] = _conditional(graph.distances[part].astype(np.float64) ** 2, perplexity)
    rows = np.repeat(np.arange(n, dtype=np.int32), k)
    directed = coo_array((conditional.reshape(-1), (rows, graph.indices.reshape(-1))), shape=(n, n)).tocsr()
    symmetric = (directed + directed.T).tocsr()
    symmetric.sort_indices()
    symmetric.data /= symmetric.data.sum(dtype=np.float64)
    return symmetric


def _conditional(squared: Doubles, perplexity: float) -> Doubles:
    """Return Gaussian weights (b, k) of squared distances, normalized per row, with the requested perplexity.

    The precision of each Gaussian is found by bisection.
    """
    beyond = squared - squared.min(axis=1, keepdims=True)
    target = np.log(min(perplexity, squared.shape[1]))
    # In units of the mean of each row, so that the scale of the vectors does not matter.
    mean = beyond.mean(axis=1, keepdims=True)
    beyond = beyond / np.where(mean > 0, mean, 1)
    low, high, precision = np.zeros(len(beyond)), np.full(len(beyond), np.inf), np.ones(len(beyond))
    for _ in range(BISECTIONS):
        weights = np.exp(-beyond * precision[:, None])
        total = weights.sum(axis=1)
        entropy = np.log(total) + precision * (beyond * weights).sum(axis=1) / total
        is_too_wide = entropy > target
        low, high = np.where(is_too_wide, precision, low), np.where(is_too_wide, high, precision)
        precision = np.where(np.isfinite(high), (low + high) / 2, precision * 2)
    weights = np.exp(-beyond * precision[:, None])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def lay_out(
    weights: csr_array,
    start: Floats,
    *,
    n_iterations: int = ITERATIONS,
    on_iteration: Callable[[int, int], None] | None = None,
) -> Floats:
    """Return places (n, 2) for rows with the affinities ``weights`` (n, n), starting from ``start`` (n, 2).

    Gradient descent with momentum; affinities are exaggerated for the first third. ``on_iteration(done, total)`` is
    called after each iteration and may raise to stop. O(n k) per iteration.
    """
    n = len(start)
    places = start.astype(np.float64)
    places *= 1e-4 / max(float(places[:, 0].std()), float(np.finfo(np.float64).tiny))
    learning_rate = max(n / EXAGGERATION / 4, MIN_LEARNING_RATE)
    step, gains = np.zeros_like(places), np.ones_like(places)
    early = round(n_iterations * EARLY / ITERATIONS)
    forces = _Forces(weights)
    with ThreadPoolExecutor(cores()) as threads:
        for iteration in range(n_iterations):
            is_early = iteration < early
            gradient = forces.gradient(places, EXAGGERATION if is_early else 1.0, threads)
            changes_sign = (gradient > 0) != (step > 0)
            gains = np.maximum(np.where(changes_sign, gains + 0.2, gains * 0.8), 0.01)
            step = (0.5 if is_early else 0.8) * step - learning_rate * gains * gradient
            places += step
            places -= places.mean(axis=0)
            if on_iteration is not None:
                on_iteration(iteration + 1, n_iterations)
    return places.astype(np.float32)


class _Forces:
    """Gradient of the Kullback-Leibler divergence: attraction along the edges minus repulsion by all points."""

    def __init__(self, weights: csr_array) -> None:
        self.edges = (
            weights.indptr.astype(np.int64),
            weights.indices.astype(np.int32),
            weights.data.astype(np.float64),
        )
        self.parts = split_by_edges(self.edges[0])

    def gradient(self, places: Doubles, exaggeration: float, threads: ThreadPoolExecutor) -> Doubles:
        """Return the gradient (n, 2) at ``places`` (n, 2)."""
        attraction = np.empty_like(places)

        def attract(part: Part) -> None:
            pulls(part[0], part[1], *self.edges, places, attraction)

        attracted = threads.map(attract, self.parts)
        repulsion = exact_repulsion(places, threads) if len(places) <= EXACT_LIMIT else grid_repulsion(places)
        list(attracted)
        return 4 * (exaggeration * attraction - repulsion)


def exact_repulsion(places: Doubles, threads: ThreadPoolExecutor) -> Doubles:
    """Compute the normalized repulsion (n, 2) of each point by all others; O(n^2)."""
    repulsion, total = np.empty_like(places), np.empty(len(places))

    def repel(part: Part) -> None:
        pushes_of_all(part[0], part[1], places, repulsion, total)

    cuts = np.linspace(0, len(places), cores() + 1).astype(int).tolist()
    list(threads.map(repel, pairwise(cuts)))
    return np.asarray(repulsion / max(float(total.sum()), 1e-12))


def grid_repulsion(places: Doubles) -> Doubles:
    """Interpolate the normalized repulsion (n, 2) of each point by all others on a grid; O(n + grid)."""
    low, size = places.min(axis=0), float(np.ptp(places, axis=0).max())
    n_boxes = int(np.clip(np.ceil(BOXES_PER_UNIT * size), MIN_BOXES, MAX_BOXES))
    box = max(size, 1e-12) / n_boxes
    m = n_boxes * NODES
    charges = np.zeros((3, m, m))
    center = low + size / 2
    spread(places - center, low - center, box, n_boxes, charges)
    wide = next_fast_len(2 * m, real=True)
    distance = np.minimum(np.arange(wide), wide - np.arange(wide)) * (box / NODES)
    kernel = 1 / (1 + distance[:, None] ** 2 + distance[None, :] ** 2)
    spectra = rfft2(charges, (wide, wide), workers=cores())
    potentials = irfft2(spectra * rfft2(kernel * kernel, workers=cores()), (wide, wide), workers=cores())[:, :m, :m]
    total = _energy(spectra[0], rfft2(kernel, workers=cores()), wide) - len(places)
    potential = np.empty((len(places), 3))
    gather(places - center, low - center, box, n_boxes, np.ascontiguousarray(potentials), potential)
    return np.asarray(((places - center) * potential[:, :1] - potential[:, 1:]) / max(total, 1e-12))


def _energy(spectrum: NDArray[np.complex128], kernel: NDArray[np.complex128], wide: int) -> float:
    """Sum the kernel over all pairs of charges, directly from the spectrum."""
    dense = np.abs(spectrum) ** 2 * kernel.real
    # A real transform stores half of the columns: the inner ones count twice.
    doubled = slice(1, (wide + 1) // 2)
    return float((dense.sum() + dense[:, doubled].sum()) / wide**2)


def split_by_edges(indptr: NDArray[np.int64]) -> list[Part]:
    """Split rows into one part per core, with about as many edges (CSR) each."""
    edges = np.linspace(0, indptr[-1], cores() + 1)
    cuts = np.unique(np.r_[0, np.searchsorted(indptr, edges[1:-1]), len(indptr) - 1])
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
