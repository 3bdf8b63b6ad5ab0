"""Select diverse rows by k-center: farthest-first traversal, starting from the labeled rows.

Teofilo F. Gonzalez, *Clustering to minimize the maximum intercluster distance*, Theoretical Computer Science 38 (1985);
Ozan Sener and Silvio Savarese, *Active learning for convolutional neural networks: a core-set approach*, ICLR 2018.
Lazy evaluation after Michel Minoux, *Accelerated greedy algorithms for maximizing submodular set functions* (1978): the
distance to the nearest center never increases, so an old distance is an upper bound, and only rows that may be the
farthest are updated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.rows import Floats, Rows, as_rows, blocks, single_blas_thread, usable

# Number of the highest old bounds updated in one product; doubled at each further attempt, up to the maximum.
REFRESH = 64
MAX_REFRESH = 4096
# Number of rows considered individually; all others lie below a limit.
FRONT = 2048
# Centers per product in the first pass, to bound its memory.
CENTERS_PER_PRODUCT = 1024
# The error of float32 products of d terms is about sqrt(d) roundings; eight times that was never exceeded.
ERROR_FACTOR = 8.0


@dataclass(frozen=True)
class Cover:
    """Rows in the order of selection, with each one's distance to the nearest previous center."""

    rows: Rows  # (m,)
    distances: Floats  # never increasing; infinite for the first if nothing was labeled


def k_center(X: Floats, candidates: ArrayLike, labeled: ArrayLike, k: int, *, refresh: int = REFRESH) -> Cover:
    """Select ``k`` candidates, each the farthest (Euclidean) from all labeled or previously selected rows.

    Parameters
    ----------
    X
        (n, d) float32 vectors by row, may be memory-mapped.
    candidates, labeled
        Rows to select from, and rows that are centers from the start.
    k
        Number of rows, limited to the number of candidates.
    refresh
        Bounds updated in one product; affects only the speed.

    Returns
    -------
    Cover
        The same selection as a simple loop in float64, with ties going to the earlier candidate. Without labeled
        rows the first is the candidate nearest to the mean. Rows that are not finite are neither selected nor
        centers; without usable rows the result is empty. Identical vectors keep the order given.

    Notes
    -----
    Worst case O(n d k) like the simple loop; usually O(n d) for the first pass and little afterwards. Ties within
    float32 precision are resolved in float64.
    """
    rows = usable(X, candidates)
    k = min(k, len(rows))
    if k <= 0:
        return Cover(np.empty(0, np.int64), np.empty(0, np.float32))
    picks, distances = np.empty(k, np.int64), np.empty(k)
    with single_blas_thread():  # also for the first pass, in which threads would wait for each other
        greedy = _Greedy(X, rows, usable(X, as_rows(labeled)), k, refresh)
        for done in range(k):
            at, squared = greedy.farthest()
            if squared == 0:  # only duplicates of centers are left
                picks[done:], distances[done:] = greedy.left()[: k - done], 0
                break
            picks[done], distances[done] = at, squared
            greedy.take(at)
    falling = np.minimum.accumulate(np.sqrt(distances))
    return Cover(rows[picks], falling.astype(np.float32))


class _Greedy:
    """Squared distances to the nearest center with error bounds, by position among the rows."""

    def __init__(self, X: Floats, rows: Rows, labeled: Rows, k: int, refresh: int) -> None:
        self.X, self.rows, self.refresh = X, rows, refresh
        n, d = len(rows), X.shape[1]
        self.shift = np.asarray(X[rows[:CENTERS_PER_PRODUCT]], np.float64).mean(axis=0).astype(np.float32)
        self.slack = ERROR_FACTOR * float(np.sqrt(d + 8)) * 2.0**-24
        self.centers = np.empty((len(labeled) + k, d), np.float32)  # shifted
        self.center_rows = np.empty(len(labeled) + k, np.int64)
        self.lengths = np.empty(len(labeled) + k, np.float32)
        self.exact_centers = np.empty(self.centers.shape)
        self.exact_lengths = np.empty(self.lengths.shape)
        self.n_centers = 0
        self.own = np.empty(n, np.float32)  # squared length of each shifted row
        self.value = np.full(n, np.inf)  # squared distance, within the error; -1 once selected
        self.error = np.zeros(n)
        self.seen = np.zeros(n, np.int64)  # number of centers that the value accounts for
        self.front = np.arange(n)
        self.limit = -np.inf  # no row outside the front lies above this
        self._add(labeled)
        self._first_pass()

    def farthest(self) -> tuple[int, float]:
        """Return the position of the row farthest from all centers, and its squared distance."""
        if not self.n_centers:
            return self._most_central(), np.inf
        width, size = self.refresh, FRONT
        while True:
            value, error = self.value[self.front], self.error[self.front]
            fresh = self.seen[self.front] >= self.n_centers
            floor = np.max(value - error, where=fresh, initial=-1)
            rival = value + error >= floor
            stale = np.flatnonzero(rival & ~fresh)
            if len(stale):
                if len(stale) > width:
                    stale = stale[np.argpartition(-value[stale], width)[:width]]
                self._renew(self.front[stale])
                width = min(2 * width, MAX_REFRESH)
            elif floor <= self.limit:
                self._widen_front(size)
                size *= 2
            elif np.count_nonzero(rival) > 1 and error[rival].any():
                self._refine(self.front[rival & (error > 0)])
            else:
                at = int(self.front[rival].min())
                return at, float(self.value[at])

    def take(self, at: int) -> None:
        """Make the row at this position a center."""
        self._add(self.rows[at : at + 1])
        if self.n_centers == 1:
            self._first_pass()
        self._settle(np.array([at]), -1)

    def left(self) -> NDArray[np.intp]:
        """Return the positions not yet selected."""
        return np.flatnonzero(self.value >= 0)

    def _add(self, rows: Rows) -> None:
        new = slice(self.n_centers, self.n_centers + len(rows))
        self.center_rows[new] = rows
        exact = self.X[rows] - self.shift.astype(np.float64)
        self.centers[new] = self.exact_centers[new] = exact
        self.lengths[new] = self.exact_lengths[new] = np.einsum("ij,ij->i", exact, exact)
        self.n_centers += len(rows)

    def _first_pass(self) -> None:
        """Compute distances of all rows to all current centers, reading each row once."""
        for part in blocks(len(self.rows)):
            block = self.X[self.rows[part]] - self.shift
            self.own[part] = np.einsum("ij,ij->i", block, block)
            if self.n_centers:
                self._shrink(np.arange(part.start, part.stop), block, 0)
        if self.n_centers:
            self._widen_front(FRONT)

    def _renew(self, positions: NDArray[np.intp]) -> None:
        self._shrink(positions, self.X[self.rows[positions]] - self.shift, int(self.seen[positions].min()))

    def _shrink(self, positions: NDArray[np.intp], block: Floats, since: int) -> None:
        """Lower the values of ``positions`` by the centers from number ``since`` on."""
        nearest = np.full(len(block), np.inf, np.float32)
        for part in blocks(self.n_centers - since, CENTERS_PER_PRODUCT):
            selected = slice(since + part.start, since + part.stop)
            squared = block @ self.centers[selected].T
            squared *= -2
            squared += self.lengths[selected]
            np.minimum(nearest, squared.min(axis=1), out=nearest)
        own = self.own[positions].astype(np.float64)
        new = np.maximum(nearest + own, 0)
        # A center near the row is about as long as the row, so its product is as accurate.
        new_error = self.slack * (6 * own + 4 * new)
        old, old_error = self.value[positions], self.error[positions]
        larger_error = np.maximum(new_error, old_error)
        error = np.where(new + new_error < old - old_error, new_error, larger_error)
        self.error[positions] = np.where(old + old_error < new - new_error, old_error, error)
        self.value[positions] = np.minimum(old, new)
        self.seen[positions] = self.n_centers

    def _refine(self, positions: NDArray[np.intp]) -> None:
        """Compute the values of ``positions`` exactly: float64 differences to every center that may be nearest."""
        centers, lengths = self.exact_centers[: self.n_centers], self.exact_lengths[: self.n_centers]
        for part in blocks(len(positions), self.refresh):
            rows = positions[part]
            block = self.X[self.rows[rows]].astype(np.float64)
            approximate = lengths - 2 * (block - self.shift) @ centers.T + self.own[rows, None]
            least = approximate.min(axis=1, keepdims=True)
            row, center = np.nonzero(approximate <= least + 1e-9 * (least + self.own[rows, None]) + 1e-30)
            exact = np.full(len(rows), np.inf)
            for pairs in blocks(len(row)):
                other = self.X[self.center_rows[center[pairs]]].astype(np.float64)
                np.minimum.at(exact, row[pairs], np.square(block[row[pairs]] - other).sum(axis=1))
            self.value[rows], self.error[rows] = exact, 0
            self._settle(rows[exact == 0], 0)

    def _settle(self, positions: NDArray[np.intp], value: float) -> None:
        """Fix a value that no later center changes."""
        self.value[positions], self.error[positions] = value, 0
        self.seen[positions] = np.iinfo(np.int64).max

    def _widen_front(self, size: int) -> None:
        """Make the ``size`` rows that may be farthest the front."""
        upper = self.value + self.error
        if size >= len(upper):
            self.front, self.limit = np.arange(len(upper)), -np.inf
            return
        order = np.argpartition(-upper, size)
        self.front, self.limit = order[:size], float(upper[order[size]])

    def _most_central(self) -> int:
        """Return the position nearest to the mean of all rows."""
        total = np.zeros(self.X.shape[1])
        for part in blocks(len(self.rows)):
            total += self.X[self.rows[part]].sum(axis=0, dtype=np.float64)
        mean = total / len(self.rows)
        squared = np.empty(len(self.rows))
        for part in blocks(len(self.rows)):
            squared[part] = np.square(self.X[self.rows[part]] - mean).sum(axis=1)
        return int(squared.argmin())
