"""Diverse: k-center, farthest first, given what is labelled already.

Teofilo F. Gonzalez, *Clustering to minimize the maximum intercluster distance*, Theoretical Computer Science 38
(1985); Ozan Sener and Silvio Savarese, *Active learning for convolutional neural networks: a core-set approach*,
ICLR 2018. Lazy in the manner of Michel Minoux, *Accelerated greedy algorithms for maximizing submodular set
functions* (1978): a distance to the nearest centre can only shrink, so an old one is an upper bound, and only
rows that might be the farthest are looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.rows import Floats, Rows, as_rows, blocks, one_thread, usable

# So many of the most promising old bounds are renewed in one product at first; twice as many at each next try.
REFRESH = 64
WIDEST = 4096
# The rows that are looked at one by one; all others lie below a limit and need no look.
FRONT = 2048
# Centres per product in the first pass, to bound its memory.
CENTRES = 1024
# float32 products of d terms stray by about sqrt(d) roundings; eight times that was never seen exceeded.
CAUTION = 8.0


@dataclass(frozen=True)
class Cover:
    """Rows in the order they were picked, and each one's distance to the nearest centre before it."""

    rows: Rows  # (m,)
    distances: Floats  # (m,) never rising; infinity for the first of all when nothing was labelled


def k_center(X: Floats, candidates: ArrayLike, labelled: ArrayLike, k: int, *, refresh: int = REFRESH) -> Cover:
    """Pick ``k`` candidates, each the farthest (Euclidean) from everything labelled or picked before.

    Parameters
    ----------
    X
        (n, d) float32 vectors by row, may be memory-mapped.
    candidates, labelled
        Rows to pick from, and rows that are centres from the start.
    k
        How many; more than there are gives all of them.
    refresh
        Bounds renewed in one product; changes the speed only.

    Returns
    -------
    Cover
        The picks of the plain loop in float64, with equal distances going to the earlier candidate. Without
        labelled rows the first is the candidate nearest to their mean. Rows that are not all finite are
        neither picked nor centres; nothing usable gives nothing. Identical vectors come in the order given.

    Notes
    -----
    Worst case O(n d k) like the plain loop; mostly O(n d) for the first pass and little after it. A draw
    between rows closer than float32 can tell is decided in float64.
    """
    rows = usable(X, candidates)
    k = min(k, len(rows))
    if k <= 0:
        return Cover(np.empty(0, np.int64), np.empty(0, np.float32))
    greedy = _Greedy(X, rows, usable(X, as_rows(labelled)), k, refresh)
    picks, distances = np.empty(k, np.int64), np.empty(k)
    with one_thread():
        for done in range(k):
            at, squared = greedy.farthest()
            if squared == 0:  # only copies of centres are left: as they come
                picks[done:], distances[done:] = greedy.left()[: k - done], 0
                break
            picks[done], distances[done] = at, squared
            greedy.take(at)
    falling = np.minimum.accumulate(np.sqrt(distances))
    return Cover(rows[picks], falling.astype(np.float32))


class _Greedy:
    """Squared distances to the nearest centre, as well as they are known, by position among the rows."""

    def __init__(self, X: Floats, rows: Rows, labelled: Rows, k: int, refresh: int) -> None:
        self.X, self.rows, self.refresh = X, rows, refresh
        n, d = len(rows), X.shape[1]
        self.shift = np.asarray(X[rows[:CENTRES]], np.float64).mean(axis=0).astype(np.float32)
        self.slack = CAUTION * float(np.sqrt(d + 8)) * 2.0**-24
        self.centres = np.empty((len(labelled) + k, d), np.float32)  # shifted
        self.centre_rows = np.empty(len(labelled) + k, np.int64)
        self.lengths = np.empty(len(labelled) + k, np.float32)
        self.exact_centres = np.empty(self.centres.shape)
        self.exact_lengths = np.empty(self.lengths.shape)
        self.n_centres = 0
        self.own = np.empty(n, np.float32)  # squared length of each shifted row
        self.value = np.full(n, np.inf)  # squared distance, off by no more than the error; -1 once taken
        self.error = np.zeros(n)
        self.seen = np.zeros(n, np.int64)  # how many centres the value accounts for
        self.front = np.arange(n)
        self.limit = -np.inf  # no row outside the front lies above this
        self._add(labelled)
        self._first_pass()

    def farthest(self) -> tuple[int, float]:
        """Position of the row farthest from all centres, and its squared distance."""
        if not self.n_centres:
            return self._most_central(), np.inf
        width, size = self.refresh, FRONT
        while True:
            value, error = self.value[self.front], self.error[self.front]
            fresh = self.seen[self.front] >= self.n_centres
            floor = np.max(value - error, where=fresh, initial=-1)
            rival = value + error >= floor
            stale = np.flatnonzero(rival & ~fresh)
            if len(stale):
                if len(stale) > width:
                    stale = stale[np.argpartition(-value[stale], width)[:width]]
                self._renew(self.front[stale])
                width = min(2 * width, WIDEST)
            elif floor <= self.limit:
                self._look_wider(size)
                size *= 2
            elif np.count_nonzero(rival) > 1 and error[rival].any():
                self._refine(self.front[rival & (error > 0)])
            else:
                at = int(self.front[rival].min())
                return at, float(self.value[at])

    def take(self, at: int) -> None:
        """Make the row at this position a centre."""
        self._add(self.rows[at : at + 1])
        if self.n_centres == 1:
            self._first_pass()
        self._settle(np.array([at]), -1)

    def left(self) -> NDArray[np.intp]:
        """Positions not yet taken."""
        return np.flatnonzero(self.value >= 0)

    def _add(self, rows: Rows) -> None:
        new = slice(self.n_centres, self.n_centres + len(rows))
        self.centre_rows[new] = rows
        exact = self.X[rows] - self.shift.astype(np.float64)
        self.centres[new] = self.exact_centres[new] = exact
        self.lengths[new] = self.exact_lengths[new] = np.einsum("ij,ij->i", exact, exact)
        self.n_centres += len(rows)

    def _first_pass(self) -> None:
        """Distances of all rows to all centres there are, reading each row once."""
        for part in blocks(len(self.rows)):
            block = self.X[self.rows[part]] - self.shift
            self.own[part] = np.einsum("ij,ij->i", block, block)
            if self.n_centres:
                self._shrink(np.arange(part.start, part.stop), block, 0)
        if self.n_centres:
            self._look_wider(FRONT)

    def _renew(self, positions: NDArray[np.intp]) -> None:
        self._shrink(positions, self.X[self.rows[positions]] - self.shift, int(self.seen[positions].min()))

    def _shrink(self, positions: NDArray[np.intp], block: Floats, since: int) -> None:
        """Lower the values of ``positions`` by the centres from number ``since`` on."""
        nearest = np.full(len(block), np.inf, np.float32)
        for part in blocks(self.n_centres - since, CENTRES):
            some = slice(since + part.start, since + part.stop)
            squared = block @ self.centres[some].T
            squared *= -2
            squared += self.lengths[some]
            np.minimum(nearest, squared.min(axis=1), out=nearest)
        own = self.own[positions].astype(np.float64)
        new = np.maximum(nearest + own, 0)
        # A centre near the row is about as long as the row, so its product strays as little.
        doubt = self.slack * (6 * own + 4 * new)
        old, old_doubt = self.value[positions], self.error[positions]
        either = np.maximum(doubt, old_doubt)
        error = np.where(new + doubt < old - old_doubt, doubt, either)
        self.error[positions] = np.where(old + old_doubt < new - doubt, old_doubt, error)
        self.value[positions] = np.minimum(old, new)
        self.seen[positions] = self.n_centres

    def _refine(self, positions: NDArray[np.intp]) -> None:
        """Make the values of ``positions`` exact: float64 differences to every centre that may be nearest."""
        centres, lengths = self.exact_centres[: self.n_centres], self.exact_lengths[: self.n_centres]
        for part in blocks(len(positions), self.refresh):
            some = positions[part]
            block = self.X[self.rows[some]].astype(np.float64)
            rough = lengths - 2 * (block - self.shift) @ centres.T + self.own[some, None]
            least = rough.min(axis=1, keepdims=True)
            which, centre = np.nonzero(rough <= least + 1e-9 * (least + self.own[some, None]) + 1e-30)
            exact = np.full(len(some), np.inf)
            for pairs in blocks(len(which)):
                other = self.X[self.centre_rows[centre[pairs]]].astype(np.float64)
                np.minimum.at(exact, which[pairs], np.square(block[which[pairs]] - other).sum(axis=1))
            self.value[some], self.error[some] = exact, 0
            self._settle(some[exact == 0], 0)

    def _settle(self, positions: NDArray[np.intp], value: float) -> None:
        """A value that no later centre changes."""
        self.value[positions], self.error[positions] = value, 0
        self.seen[positions] = np.iinfo(np.int64).max

    def _look_wider(self, size: int) -> None:
        """Take the ``size`` rows that may be farthest to the front."""
        upper = self.value + self.error
        if size >= len(upper):
            self.front, self.limit = np.arange(len(upper)), -np.inf
            return
        order = np.argpartition(-upper, size)
        self.front, self.limit = order[:size], float(upper[order[size]])

    def _most_central(self) -> int:
        """The position nearest to the mean of all rows."""
        total = np.zeros(self.X.shape[1])
        for part in blocks(len(self.rows)):
            total += self.X[self.rows[part]].sum(axis=0, dtype=np.float64)
        mean = total / len(self.rows)
        squared = np.empty(len(self.rows))
        for part in blocks(len(self.rows)):
            squared[part] = np.square(self.X[self.rows[part]] - mean).sum(axis=1)
        return int(squared.argmin())
