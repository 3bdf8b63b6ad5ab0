"""Find similar hashes by bands of equal bits.

The method is locality-sensitive hashing of binary vectors by samples of their bits: Piotr Indyk and Rajeev Motwani,
*Approximate nearest neighbors*, STOC 1998.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.perceptual_hash import BANDS
from modeling.algorithms.rows import Rows, blocks

Hashes = NDArray[np.uint16]
# tell(stage, done, total) may raise to stop.
Tell = Callable[[str, int, int], None]
# Within equal bands, sorted by the other bits, each hash is compared with this many after it.
WINDOW = 16
# Bits of 128 in which candidates may differ.
MAX_BITS = 40
# Each image keeps this many other ones, those with the fewest differing bits.
PER_IMAGE = 8
_BLOCK = 65_536


def similar_hashes(hashes: Hashes, rows: Rows, tell: Tell) -> Rows:
    """Return pairs of ``rows`` whose hashes (n, 8) agree in a band and differ in at most MAX_BITS bits, (m, 2).

    The smaller row is first, and pairs ascend. Complete where at most WINDOW + 1 images share a band and an image is
    similar to at most PER_IMAGE others. In crowded bands, images are compared with those next to them in the order of
    the other bits, and each keeps the most similar ones. So there are at most PER_IMAGE pairs per image, and time and
    memory are O(n), however many hashes are equal.
    """
    lists = _Lists(len(rows))
    of_rows = np.ascontiguousarray(hashes[rows])
    for band in range(BANDS):
        tell("Comparing hashes", band, BANDS)
        _compare_in_band(of_rows, band, lists)
    pairs = lists.pairs()
    return rows[pairs]


def _compare_in_band(hashes: Hashes, band: int, lists: _Lists) -> None:
    """Compare each hash with the next ones in the order that begins with this band."""
    halves = np.roll(hashes, -band, axis=1).astype(">u2").view(">u8").astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    halves, key = halves[order], hashes[order, band]
    for step in range(1, min(WINDOW, len(order) - 1) + 1):
        has_any = False
        for part in blocks(len(order) - step, _BLOCK):
            near = slice(part.start + step, part.stop + step)
            places = np.flatnonzero(key[part] == key[near]) + part.start
            has_any |= len(places) > 0
            bits = np.bitwise_count(halves[places] ^ halves[places + step]).sum(axis=1, dtype=np.uint8)
            few = bits <= MAX_BITS
            first, second = order[places[few]], order[places[few] + step]
            lists.add(first, second, bits[few])
            lists.add(second, first, bits[few])
        if not has_any:  # nor are there any farther apart
            return


class _Lists:
    """Hold up to PER_IMAGE others per image, with the fewest differing bits; the earlier one among equals."""

    def __init__(self, n: int) -> None:
        self._others = np.full((n, PER_IMAGE), -1, np.int32)
        self._bits = np.full((n, PER_IMAGE), 255, np.uint8)
        self._most = np.full(n, 255, np.uint8)

    def add(self, owners: Rows, others: Rows, bits: NDArray[np.uint8]) -> None:
        """Add one other image to each of the distinct ``owners`` (m,), unless its list is better without it."""
        better = bits < self._most[owners]
        owners, others, bits = owners[better], others[better], bits[better]
        is_new = (self._others[owners] != others[:, None]).all(axis=1)
        owners, others, bits = owners[is_new], others[is_new], bits[is_new]
        place = self._bits[owners].argmax(axis=1)
        self._others[owners, place], self._bits[owners, place] = others, bits
        self._most[owners] = self._bits[owners].max(axis=1)

    def pairs(self) -> Rows:
        """Return the pairs in any list, (m, 2): each once, the smaller one first, ascending."""
        owners, place = np.nonzero(self._others >= 0)
        others = self._others[owners, place].astype(np.int64)
        n = max(1, len(self._others))
        return np.stack(np.divmod(np.unique(np.minimum(owners, others) * n + np.maximum(owners, others)), n), axis=1)
