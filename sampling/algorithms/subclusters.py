"""Divide clusters of a map that hold most of its points.

The points of such a cluster are stretched over the whole grid and clustered again
(:mod:`sampling.algorithms.clusters`), with lower and lower prominence until there are parts. A lower prominence alone
would find parts in noise, so the rise of a peak above its saddle must be significant too. Clouds that are even or have
a single peak stay whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sampling.algorithms.clusters import LAST, Corners, clusters, min_points_of
from sampling.algorithms.regions import points_in_polygon

Points = NDArray[np.uint16]
# Clusters with more than this share of all points are divided.
MAX_SHARE = 0.3
# The prominences that are tried in turn.
PROMINENCES = (0.5, 0.4, 0.3, 0.2)
# Each division takes at least one part away; a map is not divided more often than this along a path.
MAX_DEPTH = 12


def divided_clusters(points: Points) -> list[Corners]:
    """Return the outlines of the clusters of ``points`` (n, 2), largest first; those above MAX_SHARE are divided.

    Each is a polygon as of :func:`~sampling.algorithms.clusters.clusters`. Deterministic; O(n + SIDE**2) a division.
    """
    limit, min_points = MAX_SHARE * len(points), min_points_of(len(points))
    outlines: list[tuple[int, Corners]] = []
    pending = [(corners, 0) for corners in clusters(points)]
    while pending:
        corners, depth = pending.pop()
        inside = points[points_in_polygon(points, corners.astype(np.float64))]
        parts = _parts(inside, min_points) if len(inside) > limit and depth < MAX_DEPTH else []
        pending += [(part, depth + 1) for part in parts]
        if not parts:
            outlines.append((len(inside), corners))
    outlines.sort(key=lambda item: (-item[0], item[1].tolist()))
    return [corners for _, corners in outlines]


def _parts(points: Points, min_points: int) -> list[Corners]:
    """Return the outlines of two or more parts of one cluster; empty if it has none."""
    low = points.min(axis=0).astype(np.float64)
    step = max(1.0, float((points.max(axis=0) - low).max())) / LAST
    stretched = np.rint((points - low) / step).astype(np.uint16)
    for prominence in PROMINENCES:
        parts = clusters(stretched, prominence=prominence, is_significant=True, min_points=min_points)
        if len(parts) > 1:
            return [np.rint(part * step + low).astype(np.int64) for part in parts]
    return []
