"""Find the points of the plane inside a polygon.

Shimrat, *Algorithm 112: Position of point relative to polygon*, Communications of the ACM 5 (1962): a point is inside
if a ray from it to the left crosses the boundary an odd number of times. Vectorized here over points sorted by height:
an edge is compared only with points at its own heights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
LARGEST = 65535


def points_in_polygon(points: NDArray[np.uint16], corners: Doubles) -> NDArray[np.int64]:
    """Return the ascending positions of ``points`` (n, 2) inside the polygon ``corners`` (v, 2), by the even-odd rule.

    The polygon is closed implicitly and may intersect itself; areas enclosed twice are outside. A point on the boundary
    belongs to the right or upper side, so that adjacent regions share no points. Fewer than three corners, or collinear
    ones, enclose nothing. O(n + m log m + m e) for m points in the polygon's bounding box, each with e edges at its
    height.
    """
    if len(corners) < 3 or not len(points):
        return np.empty(0, np.int64)
    inside_box = _in_box(points, corners.min(axis=0), corners.max(axis=0))
    order = inside_box[np.argsort(points[inside_box, 1], kind="stable")]
    x, y = points[order, 0].astype(np.float64), points[order, 1].astype(np.float64)
    is_inside = np.zeros(len(order), np.bool_)
    for low, high in _edges(corners):
        span = slice(*np.searchsorted(y, [low[1], high[1]]))
        # Integers below 2**16 and their products are exact.
        to_the_left = (x[span] - low[0]) * (high[1] - low[1]) >= (y[span] - low[1]) * (high[0] - low[0])
        is_inside[span] ^= to_the_left
    return np.sort(order[is_inside])


def _in_box(points: NDArray[np.uint16], low: Doubles, high: Doubles) -> NDArray[np.int64]:
    """Return the positions of the points in the box. The first coordinate excludes most of them."""
    left, bottom = (max(0, int(end)) for end in np.ceil(low))
    right, top = (min(LARGEST, int(end)) for end in np.floor(high))
    if left > right or bottom > top:
        return np.empty(0, np.int64)
    # Comparing with integers of the same type is four times faster for a million points.
    in_width = np.flatnonzero((points[:, 0] >= left) & (points[:, 0] <= right))
    heights = points[in_width, 1]
    positions: NDArray[np.int64] = in_width[(heights >= bottom) & (heights <= top)].astype(np.int64)
    return positions


def _edges(corners: Doubles) -> list[tuple[Doubles, Doubles]]:
    """Return each edge with its lower end first, without horizontal edges, which no horizontal ray crosses."""
    return [
        (start, end) if start[1] < end[1] else (end, start)
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        if start[1] != end[1]
    ]
