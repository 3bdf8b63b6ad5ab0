"""Places on a map for points that it was not fitted to: among their nearest neighbours that have one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modeling.algorithms.ivf_neighbors import nearest_by_cells
from modeling.algorithms.rows import Doubles, Floats, blocks

NEIGHBOURS = 10
# Neighbours count less the farther they lie on the map from where most are, in this share of the map's spread: a mean
# of two clusters would lie in the void between them.
SOFTNESS = 1 / 16
STEPS = 2
HALVINGS = 40
# No point's scale is less than this share of its mean distance.
LEAST_SCALE = 1e-3


def placed(
    points: Floats,
    fitted: Floats,
    places: Floats,
    *,
    rng: np.random.Generator,
    on_progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """(m, 2) places for ``points`` (m, d) by the places (n, 2) of their nearest among the rows ``fitted`` (n, d).

    The mean of ten neighbours' places, by their weights in UMAP's fuzzy graph, drawn to where the nearest lie
    together; a copy of a fitted row lies where that does. All numbers are finite and n >= 1. O(m k) memory beside the
    arguments, ``points`` may be memory-mapped; ``on_progress(done, total)`` may raise to stop.
    """
    k = min(NEIGHBOURS, len(fitted))
    graph = nearest_by_cells(points, fitted, k, rng=rng, on_progress=on_progress)
    spread = float(places.var(axis=0, dtype=np.float64).sum()) / 2
    soft = max(SOFTNESS**2 * spread, float(np.finfo(np.float32).tiny))
    result = np.empty((len(points), 2), np.float32)
    for part in blocks(len(points)):
        far = graph.distances[part]
        weights = np.where(far[:, :1] == 0, far == 0, memberships(far)).astype(np.float64)
        around = places[graph.indices[part]].astype(np.float64)
        centre = around[:, 0]
        for _ in range(STEPS):
            drawn = weights / (soft + ((around - centre[:, None]) ** 2).sum(axis=2))
            centre = np.einsum("ij,ijc->ic", drawn, around) / drawn.sum(axis=1, keepdims=True)
        result[part] = centre
    return result


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
