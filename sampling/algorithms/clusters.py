"""Clusters of a map, and its gaps: dense parts where nothing is labelled.

A map is counted on a raster and smoothed; each cell climbs to the peak of density above it, and a peak that hardly
rises above the saddle to a higher one joins it. This is the mode-seeking of Koontz, Narendra and Fukunaga, *A graph-
theoretic approach to nonparametric cluster analysis*, IEEE Transactions on Computers C-25 (1976), with the merging by
prominence of Chazal, Guibas, Oudot and Skraba, *Persistence-based clustering in Riemannian manifolds*, Journal of the
ACM 60 (2013), on cells in place of points: after the counting nothing depends on how many points there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampling.algorithms.regions import points_in_polygon

Doubles = NDArray[np.float64]
Cells = NDArray[np.int64]
Corners = NDArray[np.int64]
SIDE, CELL, BITS = 256, 256, 8
LAST = 65534
# Widths of the smoothing, in cells; the narrowest one under which a point has company enough is taken.
WIDTHS = (2.0, 3.0, 4.0, 6.0)
COMPANY = 40
# A peak that rises less than this above its saddle, as a share of itself, is no cluster of its own.
PROMINENCE = 0.5
# A cluster goes as far as this share of its peak's density, and where a few points keep company at all.
RIM, SPARSE = 0.03, 2.0
SMALLEST, SMALLEST_SHARE = 8, 0.004
MOST_CORNERS = 80
# A gap has this share of the labels that its density promises, or less. Of all places of a map some lack labels by
# chance: so many are expected of each window, and so rare has the lack to be.
LACKING, EXPECTED, RARE = 0.25, 6.0, 1e-4
WIDTHS_OF_LABELS = (*WIDTHS, 9.0, 12.0, 16.0)


@dataclass(frozen=True)
class Density:
    """Points per cell, smoothed, (SIDE, SIDE) by (y, x), and the ``width`` (standard deviation) of the smoothing."""

    values: Doubles
    width: float

    @property
    def window(self) -> float:
        """How many cells a smoothed value speaks for: the mean of a Gaussian over itself."""
        return 4 * np.pi * self.width**2


def clusters(points: NDArray[np.uint16]) -> list[Corners]:
    """Outlines of the clusters of ``points`` (n, 2), each with a place, the largest first.

    Each is a polygon (v <= MOST_CORNERS, 2) in the points' units, closed by itself. Deterministic; O(n + SIDE**2).
    Fewer than SMALLEST points are no cluster.
    """
    if len(points) < SMALLEST:
        return []
    counts = _counted(points)
    density = _smoothed(counts, WIDTHS, 1.0)
    basin = _merged(density.values, _climbed(density.values))
    masks = []
    for top in np.unique(basin).tolist():
        peak = density.values.flat[top]
        floor = max(RIM * peak, SPARSE / density.window)
        masks.append((basin == top) & (density.values >= floor))
    return _outlined(masks, counts, _smallest(len(points)))


def gaps(points: NDArray[np.uint16], is_decided: NDArray[np.bool_]) -> list[Corners]:
    """Outlines of dense parts of ``points`` (n, 2) where far fewer than elsewhere are decided (n,), the largest first.

    None while nothing is decided: then there is no elsewhere.
    """
    share = float(is_decided.mean()) if len(points) else 0.0
    if not share:
        return []
    counts = _counted(points)
    fine = _smoothed(counts, WIDTHS, 1.0)
    wide = _smoothed(counts, WIDTHS_OF_LABELS, share)
    decided = _gaussian(_counted(points[is_decided]), wide.width)
    typical = _at_points(fine.values, counts)
    is_lacking = decided <= LACKING * share * wide.values
    mask = is_lacking & (fine.values >= LACKING * typical)
    found = _outlined(_pieces(mask), counts, _smallest(len(points)))
    return [one for one in found if _is_rare(points, is_decided, one, share)]


# -- Density --------------------------------------------------------------------------------------
def _counted(points: NDArray[np.uint16]) -> Doubles:
    cells = (points[:, 1] >> BITS << BITS) + (points[:, 0] >> BITS)
    return np.bincount(cells, minlength=SIDE * SIDE).reshape(SIDE, SIDE).astype(np.float64)


def _gaussian(counts: Doubles, width: float) -> Doubles:
    from scipy.ndimage import gaussian_filter

    smooth: Doubles = gaussian_filter(counts, width, mode="constant", truncate=3.0)
    return smooth


def _smoothed(counts: Doubles, widths: tuple[float, ...], share: float) -> Density:
    """By the narrowest width that gives a typical point company: for clusters of points, for gaps of labels."""
    enough = COMPANY if share == 1 else EXPECTED
    for width in widths:
        found = Density(_gaussian(counts, width), width)
        if _at_points(found.values, counts) * found.window * share >= enough:
            break
    return found


def _at_points(values: Doubles, counts: Doubles) -> float:
    """The median of what the points have in their cells."""
    order = np.argsort(values, axis=None)
    sums = np.cumsum(counts.flat[order])
    return float(values.flat[order[np.searchsorted(sums, sums[-1] / 2)]])


# -- Peaks ----------------------------------------------------------------------------------------
def _climbed(values: Doubles) -> Cells:
    """The peak (a flat position) that each cell comes to by always going to the highest of its neighbours."""
    around = np.pad(values, 1, constant_values=-1.0)
    steps = [(down, right) for down in range(3) for right in range(3)]
    stack = np.stack([around[down : down + SIDE, right : right + SIDE] for down, right in steps])
    offsets = np.array([(down - 1) * SIDE + right - 1 for down, right in steps])
    # Of equals the first one, so that no two cells point at each other.
    to: Cells = np.arange(SIDE * SIDE) + offsets[np.argmax(stack, axis=0).reshape(-1)]
    while not np.array_equal(to, further := to[to]):
        to = further
    return to.reshape(SIDE, SIDE)


def _merged(values: Doubles, basin: Cells) -> Cells:
    """The basins with those of little prominence joined to their neighbours, saddle after saddle from the highest."""
    joined = {top: top for top in np.unique(basin).tolist()}
    heights = {top: float(values.flat[top]) for top in joined}

    def root(top: int) -> int:
        while joined[top] != top:
            top = joined[top]
        return top

    for height, one, other in _saddles(values, basin):
        low, high = sorted((root(one), root(other)), key=lambda top: (heights[top], -top))
        if low != high and height >= (1 - PROMINENCE) * heights[low]:
            joined[low] = high
    tops = np.array(sorted(joined))
    roots = np.array([root(top) for top in tops.tolist()])
    merged: Cells = roots[np.searchsorted(tops, basin)]
    return merged


def _saddles(values: Doubles, basin: Cells) -> list[tuple[float, int, int]]:
    """(height, peak, other peak) of each pair of basins that touch, the highest first."""
    pairs, heights = [], []
    whole, head, tail = slice(None), slice(None, -1), slice(1, None)
    for here, there in (
        ((whole, head), (whole, tail)),
        ((head, whole), (tail, whole)),
        ((head, head), (tail, tail)),
        ((head, tail), (tail, head)),
    ):
        apart = basin[here] != basin[there]
        pairs.append(np.stack([basin[here][apart], basin[there][apart]], axis=1))
        heights.append(np.minimum(values[here][apart], values[there][apart]))
    ends = np.sort(np.concatenate(pairs), axis=1)
    height = np.concatenate(heights)
    order = np.lexsort((ends[:, 1], ends[:, 0], -height))
    _, first = np.unique(ends[order], axis=0, return_index=True)
    kept = order[np.sort(first)]
    return [(float(height[at]), int(ends[at, 0]), int(ends[at, 1])) for at in kept if height[at] > 0]


# -- Outlines -------------------------------------------------------------------------------------
def _smallest(n: int) -> int:
    return max(SMALLEST, round(SMALLEST_SHARE * n))


def _pieces(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    from scipy.ndimage import label

    pieces, n = label(mask, structure=np.ones((3, 3)))
    return [pieces == number for number in range(1, n + 1)]


def _outlined(masks: list[NDArray[np.bool_]], counts: Doubles, smallest: int) -> list[Corners]:
    """The outline of the fullest piece of each mask, if that has ``smallest`` points; the fullest first."""
    found: list[tuple[int, Corners]] = []
    for mask in masks:
        if counts[mask].sum() < smallest:
            continue
        piece = max(_pieces(mask), key=lambda one: float(counts[one].sum()))
        n = int(counts[piece].sum())
        if n >= smallest:
            found.append((n, outline(piece)))
    found.sort(key=lambda one: (-one[0], one[1].tolist()))
    return [corners for _, corners in found]


def outline(mask: NDArray[np.bool_]) -> Corners:
    """The outer boundary of a connected ``mask`` of cells as a polygon of at most MOST_CORNERS corners."""
    from skimage.measure import find_contours

    # Half a cell of smoothing takes the stairs away; the pad closes what touches the rim.
    soft = _gaussian(np.pad(mask, 3).astype(np.float64), 0.7)
    # A mask that is thin everywhere would vanish below a fixed level.
    line = max(find_contours(soft, min(0.4, float(soft.max()) / 2)), key=len)
    tolerance = 0.2
    while len(simple := simplified(line, tolerance)) > MOST_CORNERS:
        tolerance *= 1.4
    corners = np.rint((simple[:, ::-1] - 3 + 0.5) * CELL)
    whole: Corners = np.clip(corners, 0, LAST).astype(np.int64)
    return whole


def simplified(line: Doubles, tolerance: float) -> Doubles:
    """Corners of a closed ``line`` (n, 2), whose last point is its first, such that none of its points is farther off
    than ``tolerance`` from the polygon's edge there.

    By Douglas and Peucker, *Algorithms for the reduction of the number of points required to represent a digitized
    line*, Cartographica 10 (1973). scikit-image has it, too, and loads half of SciPy for it: seconds, in a web process.
    """
    keep = np.zeros(len(line), np.bool_)
    far = int(np.argmax(((line - line[0]) ** 2).sum(axis=1)))
    keep[[0, far]] = True
    parts = [(0, far), (far, len(line) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        away = _away(line[first + 1 : last], line[first], line[last])
        at = int(np.argmax(away))
        if away[at] > tolerance:
            keep[first + 1 + at] = True
            parts += [(first, first + 1 + at), (first + 1 + at, last)]
    kept: Doubles = line[keep]
    return kept


def _away(points: Doubles, start: Doubles, end: Doubles) -> Doubles:
    """How far each point is from the segment."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    away: Doubles = np.hypot(*(points - start - share[:, None] * along).T)
    return away


def _is_rare(points: NDArray[np.uint16], is_decided: NDArray[np.bool_], corners: Corners, share: float) -> bool:
    """Whether so few decided ones in the outline are hardly an accident (by Poisson)."""
    from scipy.special import pdtr

    inside = points_in_polygon(points, corners.astype(np.float64))
    expected, n = share * len(inside), int(np.count_nonzero(is_decided[inside]))
    return n <= LACKING * expected and float(pdtr(n, expected)) < RARE
