"""Find near-duplicates among images: copies that were resized, compressed, cropped, rotated a little, and burst frames.

Candidates are images with a similar hash, found by bands of equal bits (Piotr Indyk and Rajeev Motwani, *Approximate
nearest neighbors*, STOC 1998), and neighbors in the k-NN graph. A candidate is confirmed if the aligned pictures differ
little, and much less than the first one differs from images of its kind. So images that are merely alike, such as
galaxies, are not taken for copies. The comparison with other neighbors follows the ratio test of David Lowe,
*Distinctive image features from scale-invariant keypoints*, IJCV 60 (2004).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.neighbors import Graph
from modeling.algorithms.perceptual_hash import BANDS, Pixels
from modeling.algorithms.registration import differences

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Hashes = NDArray[np.uint16]
# tell(stage, done, total) may raise to stop.
Tell = Callable[[str, int, int], None]

# Within equal bands, sorted by the other bits, each hash is compared with this many after it.
WINDOW = 16
# Bits of 128 in which candidates may differ.
MAX_BITS = 40
# Neighbors in the graph that are candidates, and how much nearer than the last neighbor they must be.
NEIGHBORS = 5
NEARER = 0.8
# Candidates per image at most, on average. Beyond, those with fewer differing bits are kept.
_PER_IMAGE = 5
# Neighbors for the usual difference of images of a kind.
_USUAL_OF = 5
_BLOCK = 65_536
# Groups of more images than this are checked for being chains, on a sample of pairs.
LARGE = 20
_SAMPLE = 64


@dataclass(frozen=True)
class Thresholds:
    """When a candidate is a near-duplicate.

    ``difference``: of the aligned pictures, at most (1 minus their correlation). ``ratio``: of this difference to the
    usual one among images of the kind, at most. ``strict``: the largest difference without a ratio, for images whose
    kind is unknown, and for copies that are among many copies. ``among_copies``: the largest median difference in a
    large group.
    """

    difference: float = 0.02
    ratio: float = 0.1
    strict: float = 0.0003
    among_copies: float = 0.005


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of near-duplicates. ``pairs`` (m, 2), the smaller row first, ascending; ``differences`` float32 (m,).

    ``n_candidates``: pairs that were compared. ``bits``: in how many bits of their hashes these could differ.
    ``n_chained``: pairs that were dropped because they chained images that are merely alike.
    """

    pairs: Rows
    differences: Floats
    n_candidates: int
    bits: int
    n_chained: int


def find_near_duplicates(
    signatures: Pixels,
    hashes: Hashes,
    rows: Rows,
    graph: Graph | None,
    *,
    thresholds: Thresholds = Thresholds(),
    tell: Tell,
) -> NearDuplicates:
    """Find the near-duplicates among ``rows`` of ``signatures`` (n, 32, 32) and ``hashes`` (n, 8).

    ``graph`` has n rows or fewer; images beyond are compared by their hashes alone. Deterministic. O(n) pairs are
    compared, whatever the images.
    """
    by_hash, bits = similar_hashes(hashes, rows, tell)
    usable = np.zeros(len(signatures), dtype=np.bool_)
    usable[rows] = True
    candidates = _unique([by_hash, *([] if graph is None else [near_in_graph(graph, usable)])])
    found = np.ones(len(candidates), dtype=np.float32)
    for start in range(0, len(candidates), _BLOCK // 16):
        tell("Comparing similar images", start, len(candidates))
        some = candidates[start : start + _BLOCK // 16]
        found[start : start + len(some)] = differences(signatures, some, thresholds.difference)
    close = found <= thresholds.difference
    pairs, apart = candidates[close], found[close]
    usual = _usual_differences(signatures, graph, np.unique(pairs), usable, tell)
    kind = np.fmin(*(usual[np.searchsorted(np.unique(pairs), pairs[:, column])] for column in (0, 1)))
    confirmed = (apart <= thresholds.strict) | (apart <= thresholds.ratio * kind)
    pairs, apart = pairs[confirmed], apart[confirmed]
    tell("Checking large groups", 0, 0)
    unchained = without_chains(signatures, pairs, apart, thresholds.among_copies)
    n_chained = int(np.count_nonzero(~unchained))
    return NearDuplicates(pairs[unchained], apart[unchained], len(candidates), bits, n_chained)


# -- Candidates -----------------------------------------------------------------------------------
def similar_hashes(hashes: Hashes, rows: Rows, tell: Tell) -> tuple[Rows, int]:
    """Return pairs of ``rows`` (m, 2) whose hashes differ in few bits and agree in one band, and the most bits.

    Up to MAX_BITS, or fewer if these were more than 5 pairs per image. Complete among bands that at most WINDOW images
    share. Of crowded ones, images next to each other in the order of the other bits are compared.
    """
    limit = max(1000, _PER_IMAGE * len(rows))
    keys, bits = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    most = MAX_BITS
    n = len(hashes)
    for band in range(BANDS):
        tell("Comparing hashes", band, BANDS)
        order = rows[np.lexsort([hashes[rows, (band + place) % BANDS] for place in reversed(range(BANDS))])]
        for step in range(1, min(WINDOW, len(order) - 1) + 1):
            new_keys, new_bits = _in_band(hashes, order, band, step, most, n)
            keys, bits = np.concatenate([keys, new_keys]), np.concatenate([bits, new_bits])
            if len(keys) > 2 * limit:
                keys, bits, most = _reduced(keys, bits, most, limit)
    keys, bits, most = _reduced(keys, bits, most, limit)
    return np.stack(np.divmod(keys, n), axis=1) if n else np.zeros((0, 2), dtype=np.int64), most


def _in_band(hashes: Hashes, order: Rows, band: int, step: int, most: int, n: int) -> tuple[Rows, NDArray[np.uint8]]:
    """Return pairs at this distance in the order with an equal band, as numbers, and their differing bits."""
    keys, bits = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint8)]
    for start in range(0, len(order) - step, _BLOCK):
        first, second = order[start : start + _BLOCK], order[start + step : start + step + _BLOCK]
        first = first[: len(second)]
        same = hashes[first, band] == hashes[second, band]
        first, second = first[same], second[same]
        differing = np.bitwise_count(hashes[first] ^ hashes[second]).sum(axis=1, dtype=np.uint8)
        few = differing <= most
        keys.append(np.minimum(first, second)[few] * n + np.maximum(first, second)[few])
        bits.append(differing[few])
    return np.concatenate(keys), np.concatenate(bits)


def _reduced(keys: Rows, bits: NDArray[np.uint8], most: int, limit: int) -> tuple[Rows, NDArray[np.uint8], int]:
    """Drop repetitions, and the pairs with the most differing bits while there are more than ``limit``."""
    keys, first = np.unique(keys, return_index=True)
    bits = bits[first]
    totals = np.cumsum(np.bincount(bits, minlength=most + 1))
    while most > 0 and totals[most] > limit:
        most -= 1
    few = bits <= most
    return keys[few], bits[few], most


def near_in_graph(graph: Graph, usable: NDArray[np.bool_]) -> Rows:
    """Return pairs (m, 2) of ``usable`` rows (n,) that are much nearer to each other than other neighbors."""
    k = graph.indices.shape[1]
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(graph.indices) if k else 0, _BLOCK):
        indices, distances = graph.indices[start : start + _BLOCK], graph.distances[start : start + _BLOCK]
        last = np.nanmax(np.where(indices >= 0, distances, 0), axis=1, keepdims=True)
        near = (indices >= 0) & (distances <= NEARER * last)
        near[:, min(NEIGHBORS, k) :] = False
        first, place = np.nonzero(near)
        second = indices[first, place].astype(np.int64)
        both = usable[first + start] & usable[second]
        pairs.append(np.stack([first[both] + start, second[both]], axis=1))
    return np.concatenate(pairs)


def _unique(parts: list[Rows]) -> Rows:
    pairs = np.concatenate(parts)
    pairs.sort(axis=1)
    return np.unique(pairs, axis=0)


# -- Confirmation ---------------------------------------------------------------------------------
def _usual_differences(
    signatures: Pixels, graph: Graph | None, rows: Rows, usable: NDArray[np.bool_], tell: Tell
) -> Floats:
    """Return the median difference of each of ``rows`` to farther neighbors, (m,); NaN without such neighbors."""
    usual = np.full(len(rows), np.nan, dtype=np.float32)
    k = 0 if graph is None else graph.indices.shape[1]
    if graph is None or k < 2:
        return usual
    columns = np.unique(np.linspace(k // 3, k - 1, _USUAL_OF).round().astype(np.int64))
    for start in range(0, len(rows), _BLOCK // 64):
        tell("Comparing with other images of the kind", start, len(rows))
        some = rows[start : start + _BLOCK // 64]
        inside = np.flatnonzero(some < len(graph.indices))
        others = graph.indices[some[inside]][:, columns].astype(np.int64)
        valid = (others >= 0) & usable[others]
        pairs = np.stack(np.broadcast_arrays(some[inside][:, None], others), axis=2)[valid]
        values = np.full(others.shape, np.nan, dtype=np.float32)
        values[valid] = differences(signatures, pairs)
        has_any = valid.any(axis=1)
        usual[start + inside[has_any]] = np.nanmedian(values[has_any], axis=1)
    return usual


# -- Groups ---------------------------------------------------------------------------------------
def without_chains(signatures: Pixels, pairs: Rows, apart: Floats, limit: float) -> NDArray[np.bool_]:
    """Return which pairs (m, 2) remain when groups are cut that are chains of images that are merely alike, bool (m,).

    Among copies most pairs differ by at most ``limit``. A group of more than LARGE images for which this is not so, on
    a random sample, loses the half of its pairs that differ most, ``apart`` (m,), and its parts are checked again.
    """
    remaining = np.ones(len(pairs), dtype=np.bool_)
    waiting = np.arange(len(pairs))
    while len(waiting):
        members, number = np.unique(pairs[waiting], return_inverse=True)
        group = grouped(number.reshape(-1, 2), len(members))
        of_pair = group[number.reshape(-1, 2)[:, 0]]
        sizes = np.bincount(group, minlength=len(members))
        again = [np.zeros(0, dtype=np.int64)]
        for large in np.flatnonzero(sizes > LARGE):
            inside = waiting[of_pair == large]
            if _are_copies(signatures, members[group == large], limit):
                continue
            order = inside[np.lexsort((inside, apart[inside]))]
            again.append(np.sort(order[: len(order) // 2]))
            remaining[order[len(order) // 2 :]] = False
        waiting = np.concatenate(again)
    return remaining


def _are_copies(signatures: Pixels, rows: Rows, limit: float) -> bool:
    """Return whether most of a random sample of pairs among ``rows`` differ by at most ``limit``."""
    rng = np.random.default_rng(int(rows[0]))
    first = rng.integers(0, len(rows), _SAMPLE)
    second = (first + rng.integers(1, len(rows), _SAMPLE)) % len(rows)
    return bool(np.median(differences(signatures, np.stack([rows[first], rows[second]], axis=1))) <= limit)


def grouped(pairs: Rows, n: int) -> Rows:
    """Return the smallest row of each row's group, (n,): rows that pairs connect, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, group = connected_components(edges, directed=False)
    _, first = np.unique(group, return_index=True)
    smallest: Rows = first[group].astype(np.int64)
    return smallest
