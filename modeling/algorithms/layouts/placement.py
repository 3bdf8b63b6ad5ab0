"""Place new points on an existing map, among their nearest neighbors on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modeling.algorithms.ivf_neighbors import approximate_nearest
from modeling.algorithms.rows import Doubles, Floats, blocks

N_NEIGHBORS = 10
# Neighbors that lie far from most others on the map get less weight, relative to this share of the map's spread: the
# mean of two clusters would lie in the empty space between them.
SOFTNESS = 1 / 16
ITERATIONS = 2
BISECTIONS = 40
# Minimum scale of a point, as a share of its mean distance.
MIN_SCALE = 1e-3


def place_points(
    points: Floats,
    fitted: Floats,
    places: Floats,
    *,
    rng: np.random.Generator,
    on_progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """Return map places (m, 2) for ``points`` (m, d), given fitted rows (n, d) and their places (n, 2).

    Each is a weighted mean of the places of its ten nearest fitted rows, with the weights of UMAP's fuzzy graph,
    shifted to where most of them lie. A copy of a fitted row gets that row's place. All numbers are finite and n >= 1.
    O(m k) memory besides the arguments. ``points`` may be memory-mapped; ``on_progress(done, total)`` may raise to
    stop.
    """
    k = min(N_NEIGHBORS, len(fitted))
    graph = approximate_nearest(points, fitted, k, rng=rng, on_progress=on_progress)
    spread = float(places.var(axis=0, dtype=np.float64).sum()) / 2
    soft = max(SOFTNESS**2 * spread, float(np.finfo(np.float32).tiny))
    result = np.empty((len(points), 2), np.float32)
    for part in blocks(len(points)):
        distances = graph.distances[part]
        weights = np.where(distances[:, :1] == 0, distances == 0, memberships(distances)).astype(np.float64)
        neighbor_places = places[graph.indices[part]].astype(np.float64)
        center = neighbor_places[:, 0]
        for _ in range(ITERATIONS):
            pulls = weights / (soft + ((neighbor_places - center[:, None]) ** 2).sum(axis=2))
            center = np.einsum("ij,ijc->ic", pulls, neighbor_places) / pulls.sum(axis=1, keepdims=True)
        result[part] = center
    return result


def memberships(distances: Floats) -> Floats:
    """Return fuzzy memberships (n, k) in [0, 1] from neighbor distances (n, k): 1 for the nearest distinct neighbor.

    The scale of each row is chosen so that its memberships sum to log2(k + 1).
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
        scale = np.maximum(scale, MIN_SCALE * least)
        with np.errstate(invalid="ignore", divide="ignore"):
            result[part] = np.where(beyond > 0, np.exp(-beyond / scale[:, None]), 1)
    return result


def _scales(beyond: Doubles) -> Doubles:
    """Find by bisection the scale (b,) at which the memberships of each row (b, k) sum to log2(k + 1)."""
    target = np.log2(beyond.shape[1] + 1)
    low, high = np.zeros(len(beyond)), np.full(len(beyond), np.inf)
    scale = np.ones(len(beyond))
    for _ in range(BISECTIONS):
        is_too_much = np.exp(-beyond / scale[:, None]).sum(axis=1) > target
        high = np.where(is_too_much, scale, high)
        low = np.where(is_too_much, low, scale)
        scale = np.where(np.isfinite(high), (low + high) / 2, scale * 2)
    return scale
