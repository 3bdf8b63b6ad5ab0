"""Find clusters of a map, and its gaps: dense parts with hardly any labels.

The points are counted on a grid and smoothed. Each cell climbs to the density peak above it, and a peak that rises
little above the saddle to a higher one is merged with it. This is the mode seeking of Koontz, Narendra and Fukunaga, *A
graph-theoretic approach to nonparametric cluster analysis*, IEEE Transactions on Computers C-25 (1976), with the
merging by prominence of Chazal, Guibas, Oudot and Skraba, *Persistence-based clustering in Riemannian manifolds*,
Journal of the ACM 60 (2013), on grid cells instead of points: after counting, the cost does not depend on the number of
points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampling.algorithms.regions import points_in_polygon

Doubles = NDArray[np.float64]
Cells = NDArray[np.int64]
Corners = NDArray[np.int64]
CELL, BITS = 256, 8
# The grid extends beyond the points, so that smoothing fits on it and no outline is cut at its edge.
PAD = 20
SIDE = 256 + 2 * PAD
LAST = 65534
# Smoothing widths in cells; the narrowest one under which a typical point has at least this many others is used.
WIDTHS = (2.0, 3.0, 4.0, 6.0)
MIN_POINTS_IN_WINDOW = 40
# A peak that rises above its saddle by less than this share of its height is merged.
PROMINENCE = 0.5
# A cluster extends to this share of its peak's density, and at least to this many points in the smoothing window.
EDGE_SHARE, MIN_POINTS_AT_EDGE = 0.03, 2.0
MIN_POINTS, MIN_SHARE = 8, 0.004
MAX_CORNERS = 80
# A gap has at most this share of the labels expected from its density. Some places lack labels by chance, so each
# window must expect this many labels, and the p-value of the deficit must be below the limit.
GAP_SHARE, EXPECTED_LABELS, MAX_P_VALUE = 0.25, 6.0, 1e-4
LABEL_WIDTHS = (*WIDTHS, 9.0, 12.0, 16.0)


@dataclass(frozen=True)
class Density:
    """Smoothed points per cell, (SIDE, SIDE) by (y, x), and the ``width`` (standard deviation) of the smoothing."""

    values: Doubles
    width: float

    @property
    def window(self) -> float:
        """Return the effective number of cells in a smoothed value: the inverse of a Gaussian's mean over itself."""
        return 4 * np.pi * self.width**2


def clusters(
    points: NDArray[np.uint16], *, prominence: float = PROMINENCE, is_significant: bool = False, min_points: int = 0
) -> list[Corners]:
    """Return the outlines of the clusters of ``points`` (n, 2) with places, largest first.

    Each is an implicitly closed polygon (v <= MAX_CORNERS, 2) in the points' units, which may extend beyond 0 … LAST
    around points at the edge. Deterministic; O(n + SIDE**2). Fewer than MIN_POINTS points have no clusters.

    Parameters
    ----------
    prominence : a peak that rises above its saddle by less than this share of its height is merged.
    is_significant : merge also peaks whose rise noise explains: by less standard errors (Poisson counts in a smoothing
        window) than the largest of as many standard normal values as there are windows has on average, sqrt(2 log n).
    min_points : a cluster has at least this many points; 0 for a share of all points.
    """
    if len(points) < MIN_POINTS:
        return []
    counts = _counted(points)
    density = _smooth(counts, WIDTHS, 1.0)
    min_rise = _noise(density) if is_significant else 0.0
    basin = _merge_basins(density.values, _climb(density.values), prominence=prominence, min_rise=min_rise)
    masks = []
    for top in np.unique(basin).tolist():
        peak = density.values.flat[top]
        floor = max(EDGE_SHARE * peak, MIN_POINTS_AT_EDGE / density.window)
        masks.append((basin == top) & (density.values >= floor))
    return _outlines(masks, counts, min_points or min_points_of(len(points)))


def gaps(points: NDArray[np.uint16], is_decided: NDArray[np.bool_]) -> list[Corners]:
    """Return the outlines of dense parts of ``points`` (n, 2) with far fewer labels than elsewhere, largest first.

    ``is_decided`` (n,) marks the labeled points. Without labels there are no gaps.
    """
    share = float(is_decided.mean()) if len(points) else 0.0
    if not share:
        return []
    counts = _counted(points)
    fine = _smooth(counts, WIDTHS, 1.0)
    wide = _smooth(counts, LABEL_WIDTHS, share)
    decided = _gaussian(_counted(points[is_decided]), wide.width)
    typical = _at_points(fine.values, counts)
    is_lacking = decided <= GAP_SHARE * share * wide.values
    mask = is_lacking & (fine.values >= GAP_SHARE * typical)
    outlines = _outlines(_pieces(mask), counts, min_points_of(len(points)))
    return [corners for corners in outlines if _is_rare(points, is_decided, corners, share)]


# -- Density --------------------------------------------------------------------------------------
def _counted(points: NDArray[np.uint16]) -> Doubles:
    x, y = (points >> BITS).astype(np.int64).T + PAD
    cells = y * SIDE + x
    return np.bincount(cells, minlength=SIDE * SIDE).reshape(SIDE, SIDE).astype(np.float64)


def _gaussian(counts: Doubles, width: float) -> Doubles:
    from scipy.ndimage import gaussian_filter

    smooth: Doubles = gaussian_filter(counts, width, mode="constant", truncate=3.0)
    return smooth


def _smooth(counts: Doubles, widths: tuple[float, ...], share: float) -> Density:
    """Smooth with the narrowest width under which a typical point has enough points, or expects enough labels."""
    enough = MIN_POINTS_IN_WINDOW if share == 1 else EXPECTED_LABELS
    for width in widths:
        density = Density(_gaussian(counts, width), width)
        if _at_points(density.values, counts) * density.window * share >= enough:
            break
    return density


def _at_points(values: Doubles, counts: Doubles) -> float:
    """Return the median over points of the value of their cells."""
    order = np.argsort(values, axis=None)
    sums = np.cumsum(counts.flat[order])
    return float(values.flat[order[np.searchsorted(sums, sums[-1] / 2)]])


def _noise(density: Density) -> float:
    """Return the rise that noise reaches somewhere, in square roots of the sum of the heights of peak and saddle."""
    on_map = density.values[PAD:-PAD, PAD:-PAD]
    n_cells = np.count_nonzero(on_map * density.window >= MIN_POINTS_AT_EDGE)
    n_windows = max(2.0, n_cells / density.window)
    return float(np.sqrt(2 * np.log(n_windows) / density.window))


# -- Peaks ----------------------------------------------------------------------------------------
def _climb(values: Doubles) -> Cells:
    """Return the peak (a flat position) that each cell reaches by always moving to the highest of its neighbors."""
    around = np.pad(values, 1, constant_values=-1.0)
    steps = [(down, right) for down in range(3) for right in range(3)]
    stack = np.stack([around[down : down + SIDE, right : right + SIDE] for down, right in steps])
    offsets = np.array([(down - 1) * SIDE + right - 1 for down, right in steps])
    # Among equal cells the first one is chosen, so that no two cells point at each other.
    to: Cells = np.arange(SIDE * SIDE) + offsets[np.argmax(stack, axis=0).reshape(-1)]
    while not np.array_equal(to, further := to[to]):
        to = further
    return to.reshape(SIDE, SIDE)


def _merge_basins(values: Doubles, basin: Cells, *, prominence: float = PROMINENCE, min_rise: float = 0.0) -> Cells:
    """Merge basins of low prominence with their neighbors, from the highest saddle down.

    ``min_rise`` is the least rise of a peak above its saddle, in square roots of the sum of their heights.
    """
    joined = {top: top for top in np.unique(basin).tolist()}
    heights = {top: float(values.flat[top]) for top in joined}

    def root(top: int) -> int:
        while joined[top] != top:
            top = joined[top]
        return top

    for height, first, second in _saddles(values, basin):
        low, high = sorted((root(first), root(second)), key=lambda top: (heights[top], -top))
        rise = heights[low] - height
        if low != high and (rise <= prominence * heights[low] or rise < min_rise * np.sqrt(heights[low] + height)):
            joined[low] = high
    tops = np.array(sorted(joined))
    roots = np.array([root(top) for top in tops.tolist()])
    merged: Cells = roots[np.searchsorted(tops, basin)]
    return merged


def _saddles(values: Doubles, basin: Cells) -> list[tuple[float, int, int]]:
    """Return (height, peak, other peak) of each pair of adjacent basins, highest first."""
    pairs, heights = [], []
    whole, head, tail = slice(None), slice(None, -1), slice(1, None)
    for here, there in (
        ((whole, head), (whole, tail)),
        ((head, whole), (tail, whole)),
        ((head, head), (tail, tail)),
        ((head, tail), (tail, head)),
    ):
        differs = basin[here] != basin[there]
        pairs.append(np.stack([basin[here][differs], basin[there][differs]], axis=1))
        heights.append(np.minimum(values[here][differs], values[there][differs]))
    ends = np.sort(np.concatenate(pairs), axis=1)
    height = np.concatenate(heights)
    order = np.lexsort((ends[:, 1], ends[:, 0], -height))
    _, first = np.unique(ends[order], axis=0, return_index=True)
    highest = order[np.sort(first)]
    return [(float(height[at]), int(ends[at, 0]), int(ends[at, 1])) for at in highest if height[at] > 0]


# -- Outlines -------------------------------------------------------------------------------------
def min_points_of(n: int) -> int:
    """Return the least number of points of a cluster or gap on a map with ``n`` points."""
    return max(MIN_POINTS, round(MIN_SHARE * n))


def _pieces(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    from scipy.ndimage import label

    pieces, n = label(mask, structure=np.ones((3, 3)))
    return [pieces == number for number in range(1, n + 1)]


def _outlines(masks: list[NDArray[np.bool_]], counts: Doubles, min_points: int) -> list[Corners]:
    """Return the outline of the fullest piece of each mask with at least ``smallest`` points, fullest first."""
    outlines: list[tuple[int, Corners]] = []
    for mask in masks:
        if counts[mask].sum() < min_points:
            continue
        piece = max(_pieces(mask), key=lambda candidate: float(counts[candidate].sum()))
        n = int(counts[piece].sum())
        if n >= min_points:
            outlines.append((n, outline(piece)))
    outlines.sort(key=lambda item: (-item[0], item[1].tolist()))
    return [corners for _, corners in outlines]


def outline(mask: NDArray[np.bool_]) -> Corners:
    """Return the outer boundary of a connected ``mask`` of cells as a polygon of at most MAX_CORNERS corners."""
    from skimage.measure import find_contours

    # Smoothing by half a cell removes the stair steps; the padding closes outlines at the border.
    soft = _gaussian(np.pad(mask, 3).astype(np.float64), 0.7)
    # A mask that is thin everywhere would have no contour at a fixed level.
    line = max(find_contours(soft, min(0.4, float(soft.max()) / 2)), key=len)
    tolerance = 0.2
    while len(simple := simplify(line, tolerance)) > MAX_CORNERS:
        tolerance *= 1.4
    corners: Corners = np.rint((simple[:, ::-1] - 3 + 0.5 - PAD) * CELL).astype(np.int64)
    return corners


def simplify(line: Doubles, tolerance: float) -> Doubles:
    """Simplify a closed ``line`` (n, 2), whose last point equals its first, within a tolerance.

    No point is farther than ``tolerance`` from the polygon's edge there. The algorithm of Douglas and Peucker,
    *Algorithms for the reduction of the number of points required to represent a digitized line*, Cartographica 10
    (1973). scikit-image provides it too, but imports half of SciPy, which takes seconds in a web process.
    """
    keep = np.zeros(len(line), np.bool_)
    farthest = int(np.argmax(((line - line[0]) ** 2).sum(axis=1)))
    keep[[0, farthest]] = True
    parts = [(0, farthest), (farthest, len(line) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        distances = _distances_to_segment(line[first + 1 : last], line[first], line[last])
        at = int(np.argmax(distances))
        if distances[at] > tolerance:
            keep[first + 1 + at] = True
            parts += [(first, first + 1 + at), (first + 1 + at, last)]
    corners: Doubles = line[keep]
    return corners


def _distances_to_segment(points: Doubles, start: Doubles, end: Doubles) -> Doubles:
    """Return the distance of each point to a segment."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    distances: Doubles = np.hypot(*(points - start - share[:, None] * along).T)
    return distances


def _is_rare(points: NDArray[np.uint16], is_decided: NDArray[np.bool_], corners: Corners, share: float) -> bool:
    """Return whether so few labels inside the outline are unlikely by chance (Poisson test)."""
    from scipy.special import pdtr

    inside = points_in_polygon(points, corners.astype(np.float64))
    expected, n = share * len(inside), int(np.count_nonzero(is_decided[inside]))
    return n <= GAP_SHARE * expected and float(pdtr(n, expected)) < MAX_P_VALUE
