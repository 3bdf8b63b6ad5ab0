"""Groups of images so alike that one key labels them all, and their tighter half.

The most populated ball around one of the images themselves: what a mode of the density looks like to mean shift
(Yizong Cheng, *Mean shift, mode seeking, and clustering*, IEEE PAMI 17, 1995), counted on a sample, so that a
million vectors cost one matrix-vector product. The halves are those of 2-means (Lloyd, 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modeling.algorithms.rows import Doubles, Floats, Rows, as_rows, blocks, usable
from sampling.algorithms.ranking import top

SAMPLE = 2000
# The radius without labels: at which the closest part of the sample has so many others around.
NEIGHBOURS = 8
CLOSEST = 0.05
# With labels: pairs that close have the same label in this share, shown by so many pairs.
AGREEMENT = 0.98
ENOUGH_PAIRS = 30
LABELLED_SAMPLE = 1500
ROUNDS_OF_LLOYD = 25


@dataclass(frozen=True)
class Radius:
    """A distance that counts as alike, and how often labelled pairs so close agree (NaN, 0 without such pairs)."""

    value: float
    agreement: float = float("nan")
    n_pairs: int = 0


@dataclass(frozen=True)
class Group:
    """Rows around the first of them, the nearest first, with their distances from it; may be empty."""

    rows: Rows
    distances: Floats


def radius_of(
    X: Floats, candidates: ArrayLike, labelled: ArrayLike, labels: ArrayLike, *, rng: np.random.Generator
) -> Radius:
    """The distance within which images may share one key.

    Parameters
    ----------
    X
        (n, d) float32 by row, best a projection.
    candidates
        Rows to group.
    labelled, labels
        Rows (m,) that have a label, and its class.

    Returns
    -------
    Radius
        Where at least 30 pairs of labelled rows agree in 98 % of all cases up to some distance: the largest such
        distance. Otherwise the distance at which the closest twentieth of a sample of candidates has eight others
        around; with fewer than two candidates 0. Rows that are not all finite count nowhere.
    """
    known = usable(X, labelled)
    classes = as_rows(labels)[np.isin(as_rows(labelled), known)]
    agreed = _agreeing(X, known, classes, rng)
    if agreed is not None:
        return agreed
    some = _sample(usable(X, candidates), SAMPLE, rng)
    if len(some) < 2:
        return Radius(0.0)
    apart = np.sqrt(squared_distances(X[some], X[some]))
    k = min(NEIGHBOURS, len(some) - 1)
    value = float(np.quantile(np.partition(apart, k, axis=1)[:, k], CLOSEST))
    return _judged(X, known, classes, value, rng)


def densest(X: Floats, candidates: ArrayLike, radius: float, most: int, *, rng: np.random.Generator) -> Group:
    """The candidates within ``radius`` of the one in a sample of 2,000 that has most of the sample around it.

    At most ``most`` of them, the nearest first, the middle itself the very first; O(n d) and a product of the
    sample with itself. Ties go to the earlier row of the sample. Fewer than two within the radius: an empty group.
    """
    known = usable(X, candidates)
    some = _sample(known, SAMPLE, rng)
    if len(some) < 2 or most < 2:
        return _no_group()
    near = squared_distances(X[some], X[some]) <= radius * radius
    middle = int(some[np.argmax(near.sum(axis=1))])
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


def _agreeing(X: Floats, known: Rows, classes: Rows, rng: np.random.Generator) -> Radius | None:
    """The largest distance up to which pairs agree often enough; None when too few pairs say so."""
    apart, agrees = _pairs(X, known, classes, rng)
    order = np.argsort(apart, kind="stable")
    n_agreeing = np.cumsum(agrees[order])
    enough = np.flatnonzero(n_agreeing >= AGREEMENT * np.arange(1, len(order) + 1))
    last = int(enough[-1]) if len(enough) else -1
    if last + 1 < ENOUGH_PAIRS:
        return None
    return Radius(float(apart[order[last]]), float(n_agreeing[last] / (last + 1)), last + 1)


def _judged(X: Floats, known: Rows, classes: Rows, value: float, rng: np.random.Generator) -> Radius:
    apart, agrees = _pairs(X, known, classes, rng)
    near = agrees[apart <= value]
    return Radius(value, float(near.mean()), len(near)) if len(near) else Radius(value)


def _pairs(X: Floats, known: Rows, classes: Rows, rng: np.random.Generator) -> tuple[Floats, Rows]:
    """Distance and agreement (0 or 1) of every pair of up to 1,500 labelled rows."""
    if len(known) > LABELLED_SAMPLE:
        drawn = np.sort(rng.choice(len(known), LABELLED_SAMPLE, replace=False))
        known, classes = known[drawn], classes[drawn]
    i, j = np.triu_indices(len(known), 1)
    if not len(i):
        return np.empty(0, np.float32), np.empty(0, np.int64)
    apart = np.sqrt(squared_distances(X[known], X[known])[i, j]).astype(np.float32)
    return apart, (classes[i] == classes[j]).astype(np.int64)


def _sample(rows: Rows, n: int, rng: np.random.Generator) -> Rows:
    return rows if len(rows) <= n else np.sort(rng.choice(rows, n, replace=False))


def _no_group() -> Group:
    return Group(np.empty(0, np.int64), np.empty(0, np.float32))
