"""Which points of the plane lie in a polygon.

Shimrat, *Algorithm 112: Position of point relative to polygon*, Communications of the ACM 5 (1962): a point is inside
where a ray from it to the left crosses the boundary an odd number of times. Here all points at once, sorted by their
height: an edge is compared with the points at its own heights only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
LARGEST = 65535


def points_in_polygon(points: NDArray[np.uint16], corners: Doubles) -> NDArray[np.int64]:
    """Positions, ascending, of the ``points`` (n, 2) inside the polygon of ``corners`` (v, 2), by the even-odd rule.

    The polygon is closed by itself and may cross itself: what it goes around twice is outside. A point on the boundary
    belongs to the right or upper one of the two sides, so that regions that touch share none. Fewer than three corners,
    or all on a line, enclose nothing. O(n + m log m + m e) for m points in the polygon's bounding box, of which each
    has e edges at its height.
    """
    if len(corners) < 3 or not len(points):
        return np.empty(0, np.int64)
    inside_box = _in_box(points, corners.min(axis=0), corners.max(axis=0))
    order = inside_box[np.argsort(points[inside_box, 1], kind="stable")]
    x, y = points[order, 0].astype(np.float64), points[order, 1].astype(np.float64)
    is_inside = np.zeros(len(order), np.bool_)
    for low, high in _edges(corners):
        some = slice(*np.searchsorted(y, [low[1], high[1]]))
        # Whole numbers below 2**16 and their products are exact.
        to_the_left = (x[some] - low[0]) * (high[1] - low[1]) >= (y[some] - low[1]) * (high[0] - low[0])
        is_inside[some] ^= to_the_left
    return np.sort(order[is_inside])


def _in_box(points: NDArray[np.uint16], low: Doubles, high: Doubles) -> NDArray[np.int64]:
    """Positions of the points in the box: one coordinate after the other, for most are outside by the first."""
    left, bottom = (max(0, int(end)) for end in np.ceil(low))
    right, top = (min(LARGEST, int(end)) for end in np.floor(high))
    if left > right or bottom > top:
        return np.empty(0, np.int64)
    # Compared with whole numbers of their own kind, a million are four times as quick.
    in_width = np.flatnonzero((points[:, 0] >= left) & (points[:, 0] <= right))
    heights = points[in_width, 1]
    found: NDArray[np.int64] = in_width[(heights >= bottom) & (heights <= top)].astype(np.int64)
    return found


def _edges(corners: Doubles) -> list[tuple[Doubles, Doubles]]:
    """Each edge with its lower end first; level ones cross no level ray."""
    return [
        (one, other) if one[1] < other[1] else (other, one)
        for one, other in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        if one[1] != other[1]
    ]
