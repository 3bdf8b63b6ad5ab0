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

from sampling.algorithms.rows import Doubles, Floats, Rows, as_rows, blocks, usable

# So many of the most promising old bounds are renewed in one product at first; twice as many at each next try.
REFRESH = 64
WIDEST = 4096
# The rows that are looked at one by one; all others lie below a limit and need no look.
FRONT = 2048
# Centres per product in the first pass, to bound its memory.
CENTRES = 1024
# float32 products of d terms stray by about sqrt(d) roundings; eight times that is never seen exceeded.
CAUTION = 8.0


@dataclass(frozen=True)
class Cover:
    """Rows in the order they were picked, and each one's distance to the nearest centre before it."""

    rows: Rows  # (m,)
    distances: Floats  # (m,) never rising; infinity for the first of all when nothing was labelled


def k_center(
    X: Floats, candidates: ArrayLike, labelled: ArrayLike, k: int, *, refresh: int = REFRESH
) -> Cover:
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
        self.shift = np.asarray(X[rows[: 4 * CENTRES]], np.float64).mean(axis=0).astype(np.float32)
        self.slack = np.float32(2 * CAUTION * np.sqrt(d + 8) * 2.0**-24)
        self.centres = np.empty((len(labelled) + k, d), np.float32)
        self.centre_rows = np.empty(len(labelled) + k, np.int64)
        self.lengths = np.empty(len(labelled) + k, np.float32)
        self.n_centres = 0
        self.own = np.empty(n, np.float32)  # squared length of each shifted row
        self.value = np.full(n, np.inf)  # squared distance, exact where error is 0
        self.error = np.zeros(n)
        self.seen = np.zeros(n, np.int64)  # how many centres the value accounts for
        self.front = np.empty(0, np.int64)
        self.limit = np.inf  # no row outside the front lies above this
        self._add(labelled)
        self._first_pass()

    def farthest(self) -> tuple[int, float]:
        """Position of the row farthest from all centres, and its squared distance."""
        if not self.n_centres:
            return self._most_central(), np.inf
        width = self.refresh
        while True:
            front = self._front()
            value, error = self.value[front], self.error[front]
            fresh = self.seen[front] == self.n_centres
            floor = np.max(value - error, where=fresh, initial=-np.inf)
            rival = value + error >= floor
            stale = np.flatnonzero(rival & ~fresh)
            if len(stale):
                best = stale[np.argsort(-value[stale], kind="stable")[:width]]
                self._renew(front[best])
                width = min(2 * width, WIDEST)
            elif floor <= self.limit and len(front) < len(self.rows):
                self._look_wider()
            elif np.count_nonzero(rival) > 1 and error[rival].any():
                self._refine(front[rival & (error > 0)])
            else:
                at = front[rival].min()
                return int(at), float(self.value[at])

    def take(self, at: int) -> None:
        """Make the row at this position a centre."""
        self.value[at], self.error[at] = -np.inf, 0
        self._add(self.rows[at : at + 1])
        if self.n_centres == 1:
            self._first_pass()

    def left(self) -> NDArray[np.intp]:
        """Positions not yet taken."""
        return np.flatnonzero(self.value > -np.inf)

    def _add(self, rows: Rows) -> None:
        new = slice(self.n_centres, self.n_centres + len(rows))
        self.centre_rows[new] = rows
        self.centres[new] = self.X[rows] - self.shift
        self.lengths[new] = np.einsum("ij,ij->i", self.centres[new], self.centres[new])
        self.n_centres += len(rows)

    def _first_pass(self) -> None:
        """Distances of all rows to all centres there are, reading each row once."""
        for part in blocks(len(self.rows)):
            block = self.X[self.rows[part]] - self.shift
            self.own[part] = np.einsum("ij,ij->i", block, block)
            if self.n_centres:
                self._shrink(np.arange(part.start, part.stop), block, 0)

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
        own = self.own[positions]
        found = np.maximum(nearest.astype(np.float64) + own, 0)
        doubt = self.slack * (3.0 * own + 2 * found)
        old, old_error = self.value[positions], self.error[positions]
        # The least of several values is off by no more than the one of them that is off most.
        lower = found - doubt < old + old_error
        self.value[positions] = np.where(old == -np.inf, old, np.minimum(old, found))
        self.error[positions] = np.where(lower & (old > -np.inf), np.maximum(old_error, doubt), old_error)
        self.error[positions[~np.isfinite(old)]] = doubt[~np.isfinite(old)]
        self.seen[positions] = self.n_centres

    def _refine(self, positions: NDArray[np.intp]) -> None:
        """Make the values of ``positions`` exact: float64 differences to every centre that may be nearest."""
        n, shift = self.n_centres, self.shift.astype(np.float64)
        for part in blocks(len(positions), self.refresh):
            some = positions[part]
            block = self.X[self.rows[some]].astype(np.float64)
            squared = _squared(block - shift, self.centres[:n].astype(np.float64))
            roughly = squared.min(axis=1)
            room = 1e-6 * (roughly + self.own[some]) + 1e-30
            which, centre = np.nonzero(squared <= (roughly + room)[:, None])
            exact = np.full(len(some), np.inf)
            for pairs in blocks(len(which)):
                other = self.X[self.centre_rows[centre[pairs]]].astype(np.float64)
                np.minimum.at(exact, which[pairs], np.square(block[which[pairs]] - other).sum(axis=1))
            self.value[some], self.error[some] = exact, 0
            self.seen[some[exact == 0]] = np.iinfo(np.int64).max  # nothing is nearer than that
            self._settle(some[exact == 0])

    def _settle(self, positions: NDArray[np.intp]) -> None:
        self.seen[positions] = self.n_centres
