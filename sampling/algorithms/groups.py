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
from scipy.sparse.csgraph import minimum_spanning_tree

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
# Radii that are tried.
RADII = 400
ROUNDS_OF_LLOYD = 25


@dataclass(frozen=True)
class Agreement:
    """How many labeled pairs within ``radius`` share a class, with the 95 % interval of that share.

    ``share`` is NaN, and the interval (0, 1), where there are no such pairs.
    """

    radius: float
    share: float = float("nan")
    low: float = 0.0
    high: float = 1.0
    n_pairs: int = 0

    @property
    def is_known(self) -> bool:
        """Whether pairs within the radius are known to share a class in 95 % of all cases or more."""
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
    Pairs of the same rows tell of each other: of k rows that are all close, k - 1 comparisons decide the rest. So the
    interval is Clopper and Pearson's for as many trials as there are edges in a forest that joins the close rows.
    O(m^2 log m).
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
        apart = np.sqrt(squared_distances(X[known], X[known])[i, j]).astype(np.float32) if len(i) else np.empty(0)
        order = np.argsort(apart, kind="stable")
        self.apart = apart[order]
        self._n_agreeing = np.cumsum(classes[i[order]] == classes[j[order]])
        self._joined_at = _forest(i[order], j[order], len(known))

    def within(self, radius: float) -> Agreement:
        """Return how the pairs within ``radius`` agree."""
        n = int(np.searchsorted(self.apart, np.float32(radius), side="right"))
        if not n:
            return Agreement(radius)
        shares, lows, highs = self._intervals(np.array([n]))
        return Agreement(radius, float(shares[0]), float(lows[0]), float(highs[0]), n)

    def known(self) -> Agreement | None:
        """Return the agreement at the largest radius at which it is known to be enough; None where there is none."""
        if not len(self.apart):
            return None
        tried = np.unique(np.geomspace(1, len(self.apart), RADII).astype(np.int64))
        counts = np.unique(np.searchsorted(self.apart, self.apart[tried - 1], side="right"))
        _, lows, _ = self._intervals(counts)
        enough = np.flatnonzero(lows >= AGREEMENT)
        return self.within(float(self.apart[counts[enough[-1]] - 1])) if len(enough) else None

    def is_mixed(self, rows: Rows, radius: float) -> NDArray[np.bool_]:
        """Return for each of ``rows`` (n,) whether labeled rows within ``radius`` of it are of several classes."""
        near = squared_distances(self._X[rows], self._X[self.rows]) <= radius * radius if len(self.rows) else None
        if near is None:
            return np.zeros(len(rows), bool)
        largest = np.where(near, self.classes, np.iinfo(np.int64).min).max(axis=1)
        smallest = np.where(near, self.classes, np.iinfo(np.int64).max).min(axis=1)
        return np.asarray(near.any(axis=1) & (largest != smallest))

    def _intervals(self, counts: Rows) -> tuple[Doubles, Doubles, Doubles]:
        """Return share, low and high (m,) of the closest pairs, as many as ``counts`` (m,) says each."""
        shares = self._n_agreeing[counts - 1] / counts
        n = np.searchsorted(self._joined_at, counts, side="left").astype(np.float64)
        low, high = exact_interval(shares * n, n)
        return shares, low, high


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


def _forest(i: Rows, j: Rows, n: int) -> Rows:
    """Return at which pairs, counted from 0, a pair joins rows that no earlier pairs had joined; ascending."""
    if not len(i):
        return np.empty(0, np.int64)
    # scipy takes a weight of 0 for no edge: pairs count from 1.
    graph = coo_array((np.arange(1, len(i) + 1, dtype=np.float64), (i, j)), shape=(n, n))
    return np.sort(minimum_spanning_tree(graph.tocsr()).data).astype(np.int64) - 1


def _sample(rows: Rows, n: int, rng: np.random.Generator) -> Rows:
    return rows if len(rows) <= n else np.sort(rng.choice(rows, n, replace=False))


def _no_group() -> Group:
    return Group(np.empty(0, np.int64), np.empty(0, np.float32))
