"""Find groups of images so similar that one key press can label them all, and halve such groups.

A group is the most populated ball around one of the images, what mean shift calls a mode of the density (Yizong Cheng,
*Mean shift, mode seeking, and clustering*, IEEE PAMI 17, 1995). Counting on a sample makes a million vectors cost one
matrix-vector product. The halves are those of 2-means (Lloyd, 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from modeling.algorithms.intervals import exact_interval
from modeling.algorithms.rows import Doubles, Floats, Rows, as_rows, blocks, usable
from sampling.algorithms.ranking import top

SAMPLE = 2000
# The radius without labels: the distance at which the closest share of the sample has this many other rows within it.
N_NEIGHBORS = 8
CLOSEST_SHARE = 0.05
# Lower bound of the 95 % interval of the share of pairs of labeled images that share a class.
AGREEMENT = 0.95
LABELED_SAMPLE = 1500
# The agreement at a radius is measured on pairs no closer than this share of it.
EDGE = np.float32(0.9)
LLOYD_ITERATIONS = 25


@dataclass(frozen=True)
class Agreement:
    """The share of labeled pairs about ``radius`` apart that share a class, with its 95 % interval.

    ``share`` is NaN and the interval (0, 1) if there are no such pairs.
    """

    radius: float
    share: float = float("nan")
    low: float = 0.0
    high: float = 1.0
    n_pairs: int = 0

    @property
    def is_reliable(self) -> bool:
        """Return whether at least 95 % of pairs within the radius share a class, by the lower bound of the interval."""
        return self.low >= AGREEMENT


@dataclass(frozen=True)
class Group:
    """Rows around the first of them, nearest first, with their distances from it; may be empty."""

    rows: Rows
    distances: Floats


class LabeledPairs:
    """Pairs of labeled rows by distance, and whether they share a class.

    Parameters
    ----------
    X
        (n, d) float32 by row, preferably a projection.
    labeled, labels
        Rows (m,) that have a label, and their classes; a random sample of 1,500 if there are more. Rows that are
        not finite are ignored.
    pressed
        Returns an integer for each row, equal for rows labeled by one key press. Such pairs share a class by
        construction and are left out.

    Notes
    -----
    The agreement at a radius is measured on pairs at most a tenth closer: an average over all closer pairs would hide
    that those at the edge differ. Pairs of the same rows are dependent: for k rows that are all joined by pairs, k - 1
    comparisons determine the rest. The interval is therefore that of Clopper and Pearson with as many trials as a
    spanning forest of the pairs has edges. O(m^2 log m).
    """

    def __init__(
        self,
        X: Floats,
        labeled: ArrayLike,
        labels: ArrayLike,
        *,
        rng: np.random.Generator,
        pressed: Callable[[Rows], Rows] | None = None,
    ) -> None:
        self._X = X
        valid = usable(X, labeled)
        classes = as_rows(labels)[np.isin(as_rows(labeled), valid)]
        if len(valid) > LABELED_SAMPLE:
            sample = np.sort(rng.choice(len(valid), LABELED_SAMPLE, replace=False))
            valid, classes = valid[sample], classes[sample]
        self.rows, self.classes = valid, classes
        i, j = np.triu_indices(len(valid), 1)
        if pressed is not None and len(valid):
            key_presses = pressed(valid)
            is_informative = key_presses[i] != key_presses[j]
            i, j = i[is_informative], j[is_informative]
        distances = (
            np.sqrt(squared_distances(X[valid], X[valid])[i, j]).astype(np.float32)
            if len(i)
            else np.empty(0, np.float32)
        )
        order = np.argsort(distances, kind="stable")
        self.distances: Floats = distances[order]
        self._i, self._j = i[order], j[order]
        self._n_agreeing = np.concatenate([[0], np.cumsum(classes[self._i] == classes[self._j])])

    def within(self, radius: float) -> Agreement:
        """Return the agreement of pairs at most ``radius`` apart, and at most a tenth closer."""
        start, stop = self._edge(np.array([radius]))
        return self._measure(radius, int(start[0]), int(stop[0]))

    def _edge(self, radii: Floats) -> tuple[Rows, Rows]:
        """Return the first and last pair (exclusive) at the edge of each radius."""
        radii = np.asarray(radii, np.float32)
        return (
            np.searchsorted(self.distances, EDGE * radii, side="left"),
            np.searchsorted(self.distances, radii, side="right"),
        )

    def _measure(self, radius: float, start: int, stop: int) -> Agreement:
        n = stop - start
        if n <= 0:
            return Agreement(radius)
        share = float(self._n_agreeing[stop] - self._n_agreeing[start]) / n
        joined = coo_array((np.ones(n, bool), (self._i[start:stop], self._j[start:stop])), shape=(len(self.rows),) * 2)
        n_comparisons = float(len(self.rows) - connected_components(joined, directed=False, return_labels=False))
        low, high = exact_interval(np.array([share * n_comparisons]), np.array([n_comparisons]))
        return Agreement(radius, share, float(low[0]), float(high[0]), n)


def default_radius(X: Floats, candidates: ArrayLike, *, rng: np.random.Generator) -> float:
    """Return the distance within which the closest twentieth of a sample of candidates has eight other rows.

    It defines similarity while there are too few labels; 0 with fewer than two usable candidates.
    """
    sample = _sample(usable(X, candidates), SAMPLE, rng)
    if len(sample) < 2:
        return 0.0
    distances = np.sqrt(squared_distances(X[sample], X[sample]))
    k = min(N_NEIGHBORS, len(sample) - 1)
    return float(np.quantile(np.partition(distances, k, axis=1)[:, k], CLOSEST_SHARE))


def densest_group(
    X: Floats,
    candidates: ArrayLike,
    radius: float,
    most: int,
    *,
    rng: np.random.Generator,
) -> Group:
    """Return the candidates within ``radius`` of the row of a sample of 2,000 that has most of the sample around it.

    At most ``most`` of them, nearest first, starting with the center itself. Ties go to the earlier row of the sample.
    Fewer than two rows within the radius give an empty group.
    O(n d) and a product of the sample with itself.
    """
    valid = usable(X, candidates)
    sample = _sample(valid, SAMPLE, rng)
    if len(sample) < 2 or most < 2:
        return empty_group()
    n_near = (squared_distances(X[sample], X[sample]) <= radius * radius).sum(axis=1)
    center = int(sample[np.argmax(n_near)])
    squared = np.empty(len(valid), np.float32)
    for part in blocks(len(valid)):
        difference = X[valid[part]] - X[center]
        squared[part] = np.einsum("ij,ij->i", difference, difference)
    squared[valid == center] = -1  # before its duplicates
    order = top(np.where(squared <= radius * radius, -squared, np.nan).astype(np.float32), most)
    if len(order) < 2:
        return empty_group()
    return Group(valid[order], np.sqrt(np.maximum(squared[order], 0)))


def tighter_half(X: Floats, rows: ArrayLike) -> Group:
    """Return the half of 2-means that holds the medoid of ``rows``, nearest to it first.

    Starts from the medoid and the row farthest from it, so it is deterministic. Rows that cannot be separated stay
    together; fewer than two usable rows are returned unchanged.
    """
    valid = usable(X, rows)
    if len(valid) < 2:
        return Group(valid, np.zeros(len(valid), np.float32))
    Z = np.asarray(X[valid], np.float64)
    squared = squared_distances(Z, Z)
    medoid = int(np.argmin(np.sqrt(squared).sum(axis=1)))
    centers = Z[[medoid, int(np.argmax(squared[medoid]))]]
    is_far = np.zeros(len(Z), bool)
    for _ in range(LLOYD_ITERATIONS):
        distances = squared_distances(Z, centers)
        previous, is_far = is_far, distances[:, 1] < distances[:, 0]
        if is_far.all() or not is_far.any() or (previous == is_far).all():
            break
        centers = np.stack([Z[~is_far].mean(axis=0), Z[is_far].mean(axis=0)])
    half = np.flatnonzero(is_far == is_far[medoid])
    half = half[np.lexsort((half, half != medoid, squared[medoid, half]))]
    return Group(valid[half], np.sqrt(squared[medoid, half]).astype(np.float32))


def squared_distances(A: ArrayLike, B: ArrayLike) -> Doubles:
    """Return the squared Euclidean distances (a, b) between the rows of two matrices, in float64, never negative."""
    left, right = np.asarray(A, np.float64), np.asarray(B, np.float64)
    shift = left.mean(axis=0)
    left, right = left - shift, right - shift
    squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.asarray(np.maximum(squared, 0))


def _sample(rows: Rows, n: int, rng: np.random.Generator) -> Rows:
    return rows if len(rows) <= n else np.sort(rng.choice(rows, n, replace=False))


def empty_group() -> Group:
    """Return a group without rows."""
    return Group(np.empty(0, np.int64), np.empty(0, np.float32))
