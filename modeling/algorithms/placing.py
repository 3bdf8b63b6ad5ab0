"""Places on a map for points that it was not fitted to: among their nearest neighbours that have one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modeling.algorithms.cells import nearest_by_cells
from modeling.algorithms.rows import Floats, blocks
from modeling.algorithms.umap import memberships

NEIGHBOURS = 10
# Neighbours count less the farther they lie on the map from where most are, in this share of the map's spread: a mean
# of two clusters would lie in the void between them.
SOFTNESS = 1 / 16
STEPS = 2


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
