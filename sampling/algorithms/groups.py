"""Groups of images so alike that one key labels them all, and their tighter half.

The most populated ball around one of the images themselves: what a mode of the density looks like to mean shift
(Yizong Cheng, *Mean shift, mode seeking, and clustering*, IEEE PAMI 17, 1995), counted on a sample, so that a
million vectors cost one matrix-vector product. The halves are those of 2-means (Lloyd, 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from modeling.algorithms.intervals import exact_interval
from modeling.algorithms.rows import Doubles, Floats, Rows, as_rows, blocks, usable
from sampling.algorithms.ranking import top

SAMPLE = 2000
# The radius without labels: at which the closest part of the sample has so many others around.
NEIGHBOURS = 8
CLOSEST = 0.05
# Pairs of labeled images that close share a class in this share at least, by the lower end of its 95 % interval.
AGREEMENT = 0.95
LABELLED_SAMPLE = 1500
# A radius is measured by the pairs that are no closer than this share of it.
EDGE = np.float32(0.9)
# Radii that are tried: so many by number of pairs, and as many by distance.
RADII = 150
ROUNDS_OF_LLOYD = 25


@dataclass(frozen=True)
class Agreement:
    """How many labeled pairs about ``radius`` apart share a class, with the 95 % interval of that share.

    ``share`` is NaN, and the interval (0, 1), where there are no such pairs.
    """

    radius: float
    share: float = float("nan")
    low: float = 0.0
    high: float = 1.0
    n_pairs: int = 0

    @property
    def is_known(self) -> bool:
        """Return whether pairs within the radius are known to share a class in 95 % of all cases or more."""
        return self.low >= AGREEMENT


@dataclass(frozen=True)
class Group:
    """Rows around the first of them, the nearest first, with their distances from it; may be empty."""

    rows: Rows
    distances: Floats


class LabeledPairs:
    """Pairs of labeled rows by distance, and whether they share a class.

    Parameters
    ----------
    X
        (n, d) float32 by row, best a projection.
    labelled, labels
        Rows (m,) that have a label, and its class; 1,500 of them are drawn where there are more. Rows that are not all
        finite count nowhere.
    pressed
        Gives, by rows, numbers that are equal for rows whose label one key gave: those share it by construction, so
        that such pairs tell nothing.

    Notes
    -----
    What is measured at a radius are the pairs that are at most a tenth closer: an average over all closer pairs would
    hide that those at the edge differ. Pairs of the same rows tell of each other: of k rows that are all joined by
    pairs, k - 1 comparisons decide the rest. So the interval is Clopper and Pearson's for as many trials as there are
    edges in a forest that joins the rows. O(m^2 log m).
    """

    def __init__(
        self,
        X: Floats,
        labelled: ArrayLike,
        labels: ArrayLike,
        *,
        rng: np.random.Generator,
        pressed: Callable[[Rows], Rows] | None = None,
    ) -> None:
        self._X = X
        known = usable(X, labelled)
        classes = as_rows(labels)[np.isin(as_rows(labelled), known)]
        if len(known) > LABELLED_SAMPLE:
            drawn = np.sort(rng.choice(len(known), LABELLED_SAMPLE, replace=False))
            known, classes = known[drawn], classes[drawn]
        self.rows, self.classes = known, classes
        i, j = np.triu_indices(len(known), 1)
        if pressed is not None and len(known):
            together = pressed(known)
            told = together[i] != together[j]
            i, j = i[told], j[told]
        apart = (
            np.sqrt(squared_distances(X[known], X[known])[i, j]).astype(np.float32)
            if len(i)
            else np.empty(0, np.float32)
        )
        order = np.argsort(apart, kind="stable")
        self.apart: Floats = apart[order]
        self._i, self._j = i[order], j[order]
        self._n_agreeing = np.concatenate([[0], np.cumsum(classes[self._i] == classes[self._j])])

    def within(self, radius: float) -> Agreement:
        """Return how the pairs agree that are at most ``radius`` apart, and at most a tenth closer."""
        start, stop = self._edge(np.array([radius]))
        return self._measured(radius, int(start[0]), int(stop[0]))

    def known(self) -> Agreement | None:
        """Return the agreement at the largest radius at which it is known to be enough; None where there is none.

        Radii beyond one at which it is known not to be enough do not count, however their own pairs agree.
        """
        if not len(self.apart):
            return None
        # Evenly by number of pairs, on a logarithmic scale, and evenly by distance.
        by_number = np.geomspace(1, len(self.apart), RADII).astype(np.int64)
        by_distance = np.searchsorted(self.apart, np.linspace(self.apart[0], self.apart[-1], RADII), side="right")
        tried = np.unique(np.concatenate([by_number, by_distance])) - 1
        start, stop = self._edge(self.apart[tried])
        n_pairs = (stop - start).astype(np.float64)
        shares = (self._n_agreeing[stop] - self._n_agreeing[start]) / n_pairs
        # No forest has more edges than this: most radii need no look at theirs.
        n_most = np.minimum(n_pairs, len(self.rows) - 1)
        low, high = exact_interval(shares * n_most, n_most)
        possible = (low >= AGREEMENT) & ~np.logical_or.accumulate(high < AGREEMENT)
        for at in np.flatnonzero(possible)[::-1].tolist():
            found = self._measured(float(self.apart[tried[at]]), int(start[at]), int(stop[at]))
            if found.is_known:
                return found
        return None

    def is_mixed(self, rows: Rows, radius: float) -> NDArray[np.bool_]:
        """Return for each of ``rows`` (n,) whether labeled rows within ``radius`` of it are of several classes."""
        near = squared_distances(self._X[rows], self._X[self.rows]) <= radius * radius if len(self.rows) else None
        if near is None:
            return np.zeros(len(rows), bool)
        largest = np.where(near, self.classes, np.iinfo(np.int64).min).max(axis=1)
        smallest = np.where(near, self.classes, np.iinfo(np.int64).max).min(axis=1)
        return np.asarray(near.any(axis=1) & (largest != smallest))

    def _edge(self, radii: Floats) -> tuple[Rows, Rows]:
        """Return from which pair to which the ones at the edge of each radius go."""
        radii = np.asarray(radii, np.float32)
        return (
            np.searchsorted(self.apart, EDGE * radii, side="left"),
            np.searchsorted(self.apart, radii, side="right"),
        )

    def _measured(self, radius: float, start: int, stop: int) -> Agreement:
        n = stop - start
        if n <= 0:
            return Agreement(radius)
        share = float(self._n_agreeing[stop] - self._n_agreeing[start]) / n
        joined = coo_array((np.ones(n, bool), (self._i[start:stop], self._j[start:stop])), shape=(len(self.rows),) * 2)
        n_comparisons = float(len(self.rows) - connected_components(joined, directed=False, return_labels=False))
        low, high = exact_interval(np.array([share * n_comparisons]), np.array([n_comparisons]))
        return Agreement(radius, share, float(low[0]), float(high[0]), n)


def usual_radius(X: Floats, candidates: ArrayLike, *, rng: np.random.Generator) -> float:
    """Return the distance at which the closest twentieth of a sample of candidates has eight others around.

    Where labels say nothing, this is what counts as alike; 0 with fewer than two usable candidates.
    """
    some = _sample(usable(X, candidates), SAMPLE, rng)
    if len(some) < 2:
        return 0.0
    apart = np.sqrt(squared_distances(X[some], X[some]))
    k = min(NEIGHBOURS, len(some) - 1)
    return float(np.quantile(np.partition(apart, k, axis=1)[:, k], CLOSEST))


def densest(
    X: Floats,
    candidates: ArrayLike,
    radius: float,
    most: int,
    *,
    rng: np.random.Generator,
    avoid: Callable[[Rows], NDArray[np.bool_]] | None = None,
) -> Group:
    """The candidates within ``radius`` of the one in a sample of 2,000 that has most of the sample around it.

    At most ``most`` of them, the nearest first, the middle itself the very first; O(n d) and a product of the
    sample with itself. Ties go to the earlier row of the sample. Rows for which ``avoid`` is true are no middle. Fewer
    than two within the radius: an empty group.
    """
    known = usable(X, candidates)
    some = _sample(known, SAMPLE, rng)
    if len(some) < 2 or most < 2:
        return _no_group()
    n_near = (squared_distances(X[some], X[some]) <= radius * radius).sum(axis=1)
    if avoid is not None:
        n_near[avoid(some)] = 0
    if not n_near.max():
        return _no_group()
    middle = int(some[np.argmax(n_near)])
    squared = np.empty(len(known), np.float32)
    for part in blocks(len(known)):
        difference = X[known[part]] - X[middle]
        squared[part] = np.einsum("ij,ij->i", difference, difference)
    squared[known == middle] = -1  # before its exact copies
    order = top(np.where(squared <= radius * radius, -squared, np.nan).astype(np.float32), most)
    if len(order) < 2:
        return _no_group()
    return Group(known[order], np.sqrt(np.maximum(squared[order], 0)))


def tighter_half(X: Floats, rows: ArrayLike) -> Group:
    """The half of 2-means that holds the row in the middle of ``rows``, nearest to that row first.

    It starts from the middle row and the one farthest from it, so it takes no chance. Rows that can't be told
    apart stay together; fewer than two usable rows come back as they are.
    """
    known = usable(X, rows)
    if len(known) < 2:
        return Group(known, np.zeros(len(known), np.float32))
    Z = np.asarray(X[known], np.float64)
    squared = squared_distances(Z, Z)
    middle = int(np.argmin(np.sqrt(squared).sum(axis=1)))
    centres = Z[[middle, int(np.argmax(squared[middle]))]]
    is_far = np.zeros(len(Z), bool)
    for _ in range(ROUNDS_OF_LLOYD):
        to = squared_distances(Z, centres)
        before, is_far = is_far, to[:, 1] < to[:, 0]
        if is_far.all() or not is_far.any() or (before == is_far).all():
            break
        centres = np.stack([Z[~is_far].mean(axis=0), Z[is_far].mean(axis=0)])
    half = np.flatnonzero(is_far == is_far[middle])
    half = half[np.lexsort((half, half != middle, squared[middle, half]))]
    return Group(known[half], np.sqrt(squared[middle, half]).astype(np.float32))


def squared_distances(A: ArrayLike, B: ArrayLike) -> Doubles:
    """(a, b) squared Euclidean distances of the rows of two matrices, in double precision, never below 0."""
    left, right = np.asarray(A, np.float64), np.asarray(B, np.float64)
    shift = left.mean(axis=0)
    left, right = left - shift, right - shift
    squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.asarray(np.maximum(squared, 0))


def _sample(rows: Rows, n: int, rng: np.random.Generator) -> Rows:
    return rows if len(rows) <= n else np.sort(rng.choice(rows, n, replace=False))


def _no_group() -> Group:
    return Group(np.empty(0, np.int64), np.empty(0, np.float32))
