"""A map by t-SNE, with forces between all points from a grid, the same for a seed on however many cores.

Laurens van der Maaten and Geoffrey Hinton, *Visualizing data using t-SNE*, JMLR 9 (2008); George Linderman, Manas
Rachh, Jeremy Hoskins, Stefan Steinerberger and Yuval Kluger, *Fast interpolation-based t-SNE for improved
visualization of single-cell RNA-seq data*, Nature Methods 16 (2019); start and learning rate after Dmitry Kobak and
Philipp Berens, *The art of using t-SNE for single-cell transcriptomics*, Nature Communications 10 (2019).
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

# Rows from and to.
Part = tuple[int, int]
ROUNDS, EARLY, EXAGGERATION = 750, 250, 12.0
SLOWEST = 50.0
HALVINGS = 40
# Up to so many points the pushes of all pairs are as quick as a grid.
EXACTLY = 5000
# So many boxes of the grid make a unit of the map, where the limits allow it.
BOXES, FEWEST_BOXES, MOST_BOXES = 1.5, 50, 250


def affinities(graph: Graph, perplexity: float) -> csr_array:
    """The symmetric probabilities (n, n) of two rows being neighbours; they sum to 1.

    ``graph`` holds about three times ``perplexity`` neighbours of each row. Every row gets the width of a Gaussian at
    which its neighbours have that perplexity. O(n k) memory.
    """
    n, k = graph.indices.shape
    likely = np.empty((n, k), np.float32)
    for part in blocks(n):
        likely[part] = _conditional(graph.distances[part].astype(np.float64) ** 2, perplexity)
    rows = np.repeat(np.arange(n, dtype=np.int32), k)
    one_way = coo_array((likely.reshape(-1), (rows, graph.indices.reshape(-1))), shape=(n, n)).tocsr()
    both = (one_way + one_way.T).tocsr()
    both.sort_indices()
    both.data /= both.data.sum(dtype=np.float64)
    return both


def _conditional(squared: Doubles, perplexity: float) -> Doubles:
    """Rows (b, k) that sum to 1: Gaussians of the squared distances, by halving at the wanted perplexity."""
    beyond = squared - squared.min(axis=1, keepdims=True)
    wanted = np.log(min(perplexity, squared.shape[1]))
    # In units of each row's own mean, so that no scale of the vectors is too small or too large.
    mean = beyond.mean(axis=1, keepdims=True)
    beyond = beyond / np.where(mean > 0, mean, 1)
    low, high, sharp = np.zeros(len(beyond)), np.full(len(beyond), np.inf), np.ones(len(beyond))
    for _ in range(HALVINGS):
        weights = np.exp(-beyond * sharp[:, None])
        total = weights.sum(axis=1)
        entropy = np.log(total) + sharp * (beyond * weights).sum(axis=1) / total
        is_too_wide = entropy > wanted
        low, high = np.where(is_too_wide, sharp, low), np.where(is_too_wide, high, sharp)
        sharp = np.where(np.isfinite(high), (low + high) / 2, sharp * 2)
    weights = np.exp(-beyond * sharp[:, None])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def lay_out(
    weights: csr_array,
    start: Floats,
    *,
    n_rounds: int = ROUNDS,
    on_round: Callable[[int, int], None] | None = None,
) -> Floats:
    """Places (n, 2) for rows whose affinities are ``weights`` (n, n), from the places ``start`` (n, 2).

    Gradient descent with momentum, the first third of it with affinities exaggerated. ``on_round(done, total)`` is
    called after each round and may raise to stop. O(n k) a round.
    """
    n = len(start)
    places = start.astype(np.float64)
    places *= 1e-4 / max(float(places[:, 0].std()), float(np.finfo(np.float64).tiny))
    speed = max(n / EXAGGERATION / 4, SLOWEST)
    step, gains = np.zeros_like(places), np.ones_like(places)
    early = round(n_rounds * EARLY / ROUNDS)
    forces = _Forces(weights)
    with ThreadPoolExecutor(cores()) as threads:
        for round_ in range(n_rounds):
            is_early = round_ < early
            gradient = forces.at(places, EXAGGERATION if is_early else 1.0, threads)
            turns = (gradient > 0) != (step > 0)
            gains = np.maximum(np.where(turns, gains + 0.2, gains * 0.8), 0.01)
            step = (0.5 if is_early else 0.8) * step - speed * gains * gradient
            places += step
            places -= places.mean(axis=0)
            if on_round is not None:
                on_round(round_ + 1, n_rounds)
    return places.astype(np.float32)


class _Forces:
    """The gradient of the Kullback-Leibler divergence: pulls along the edges, pushes by all others."""

    def __init__(self, weights: csr_array) -> None:
        self.edges = (
            weights.indptr.astype(np.int64),
            weights.indices.astype(np.int32),
            weights.data.astype(np.float64),
        )
        self.parts = parts_of_equal_work(self.edges[0])

    def at(self, places: Doubles, exaggeration: float, threads: ThreadPoolExecutor) -> Doubles:
        """(n, 2), at ``places`` (n, 2)."""
        pull = np.empty_like(places)

        def draw(part: Part) -> None:
            pulls(part[0], part[1], *self.edges, places, pull)

        drawn = threads.map(draw, self.parts)
        push = exact_pushes(places, threads) if len(places) <= EXACTLY else pushes(places)
        list(drawn)
        return 4 * (exaggeration * pull - push)


def exact_pushes(places: Doubles, threads: ThreadPoolExecutor) -> Doubles:
    """(n, 2): the normalised repulsion of each point by all others; O(n^2)."""
    push, total = np.empty_like(places), np.empty(len(places))

    def measure(part: Part) -> None:
        pushes_of_all(part[0], part[1], places, push, total)

    cuts = np.linspace(0, len(places), cores() + 1).astype(int).tolist()
    list(threads.map(measure, pairwise(cuts)))
    return np.asarray(push / max(float(total.sum()), 1e-12))


def pushes(places: Doubles) -> Doubles:
    """(n, 2): the normalised repulsion of each point by all others, interpolated on a grid; O(n + grid)."""
    low, size = places.min(axis=0), float(np.ptp(places, axis=0).max())
    n_boxes = int(np.clip(np.ceil(BOXES * size), FEWEST_BOXES, MOST_BOXES))
    box = max(size, 1e-12) / n_boxes
    m = n_boxes * NODES
    charges = np.zeros((3, m, m))
    middle = low + size / 2
    spread(places - middle, low - middle, box, n_boxes, charges)
    wide = next_fast_len(2 * m, real=True)
    apart = np.minimum(np.arange(wide), wide - np.arange(wide)) * (box / NODES)
    near = 1 / (1 + apart[:, None] ** 2 + apart[None, :] ** 2)
    spectra = rfft2(charges, (wide, wide), workers=cores())
    potentials = irfft2(spectra * rfft2(near * near, workers=cores()), (wide, wide), workers=cores())[:, :m, :m]
    total = _energy(spectra[0], rfft2(near, workers=cores()), wide) - len(places)
    felt = np.empty((len(places), 3))
    gather(places - middle, low - middle, box, n_boxes, np.ascontiguousarray(potentials), felt)
    return np.asarray(((places - middle) * felt[:, :1] - felt[:, 1:]) / max(total, 1e-12))


def _energy(spectrum: NDArray[np.complex128], kernel: NDArray[np.complex128], wide: int) -> float:
    """The sum over all pairs of charges of the kernel between them, without going back from the spectrum."""
    dense = np.abs(spectrum) ** 2 * kernel.real
    # A real transform keeps half of the columns: the inner ones stand for two.
    doubled = slice(1, (wide + 1) // 2)
    return float((dense.sum() + dense[:, doubled].sum()) / wide**2)


def parts_of_equal_work(indptr: NDArray[np.int64]) -> list[Part]:
    """Rows from and to, a part for each core, with about as many edges (CSR) each."""
    edges = np.linspace(0, indptr[-1], cores() + 1)
    cuts = np.unique(np.r_[0, np.searchsorted(indptr, edges[1:-1]), len(indptr) - 1])
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
