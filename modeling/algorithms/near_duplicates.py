"""Find near-duplicates among images: copies that were resized, compressed, cropped, rotated a little, and burst frames.

Candidates are images with a similar hash and neighbors in the k-NN graph. A candidate is confirmed if the aligned
pictures differ little, and much less than the first one differs from images of its kind. So images that are merely
alike, such as galaxies, are not taken for copies. The comparison with other neighbors follows the ratio test of David
Lowe, *Distinctive image features from scale-invariant keypoints*, IJCV 60 (2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.neighbors import Graph
from modeling.algorithms.perceptual_hash import Pixels
from modeling.algorithms.registration import UNRELATED, differences, outlines
from modeling.algorithms.rows import Floats, Rows, blocks, run_in_threads
from modeling.algorithms.similar_hashes import MAX_BITS, Hashes, Tell, similar_hashes

# Neighbors in the graph that are candidates, and how much nearer than the last neighbor they must be.
NEIGHBORS = 5
NEARER = 0.8
# Of its candidates, each image is aligned with this many, those that differ least before.
PER_IMAGE = 5
# Neighbors for the usual difference of images of a kind.
_USUAL_OF = 5
_BLOCK = 65_536
_ALIGNED_BLOCK = 4096
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

    ``n_candidates``: pairs that were aligned. ``bits``: in how many bits of their hashes these could differ.
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

    ``graph`` has n rows or fewer; images beyond are compared by their hashes alone. Deterministic. At most PER_IMAGE
    pairs per image are aligned, whatever the images, so time is O(n). About 500 bytes per image are in memory besides
    the arguments; ``signatures`` may be memory-mapped.
    """
    usable = np.zeros(len(signatures), dtype=np.bool_)
    usable[rows] = True
    candidates = candidate_pairs(signatures, hashes, rows, graph, usable, tell)
    found = _differences(signatures, candidates, thresholds.difference, "Comparing similar images", tell)
    close = found <= thresholds.difference
    pairs, apart = candidates[close], found[close]
    confirmed = apart <= thresholds.strict
    members, place = np.unique(pairs[~confirmed], return_inverse=True)
    most = thresholds.difference / thresholds.ratio
    usual = _usual_differences(signatures, graph, members, usable, most, tell)[place.reshape(-1, 2)]
    confirmed[~confirmed] = apart[~confirmed] <= thresholds.ratio * np.fmin(usual[:, 0], usual[:, 1])
    pairs, apart = pairs[confirmed], apart[confirmed]
    unchained = without_chains(signatures, pairs, apart, thresholds.among_copies, tell)
    n_chained = int(np.count_nonzero(~unchained))
    return NearDuplicates(pairs[unchained], apart[unchained], len(candidates), MAX_BITS, n_chained)


def _differences(signatures: Pixels, pairs: Rows, limit: float, stage: str, tell: Tell) -> Floats:
    """Return the differences of pairs (m, 2) up to the limit, (m,), computed in threads."""
    found = np.ones(len(pairs), dtype=np.float32)

    def compare(part: slice) -> None:
        found[part] = differences(signatures, pairs[part], limit)

    tell(stage, 0, len(pairs))
    run_in_threads(compare, list(blocks(len(pairs), _ALIGNED_BLOCK)), lambda part: tell(stage, part.stop, len(pairs)))
    return found


# -- Candidates -----------------------------------------------------------------------------------
def candidate_pairs(
    signatures: Pixels, hashes: Hashes, rows: Rows, graph: Graph | None, usable: NDArray[np.bool_], tell: Tell
) -> Rows:
    """Return the pairs to align, ascending, (m, 2): for each image those that differ least, if they are related."""
    pairs = similar_hashes(hashes, rows, tell)
    if graph is not None:
        pairs = _unique(np.concatenate([pairs, near_in_graph(graph, usable)]))
    vectors = np.zeros((len(signatures), outlines(signatures[:0]).shape[1]), dtype=np.float16)
    for part in blocks(len(rows), _BLOCK):
        tell("Comparing similar images", 0, 0)
        vectors[rows[part]] = outlines(signatures[rows[part]])
    apart = np.empty(len(pairs), dtype=np.float32)
    for part in blocks(len(pairs), _BLOCK // 4):
        tell("Comparing similar images", 0, 0)
        left, right = (vectors[pairs[part, column]].astype(np.float32) for column in (0, 1))
        apart[part] = 1 - np.einsum("ij,ij->i", left, right)
    related = apart < UNRELATED
    pairs, apart = pairs[related], apart[related]
    return pairs[nearest_of_each(pairs, apart, PER_IMAGE)]


def nearest_of_each(pairs: Rows, apart: Floats, most: int) -> NDArray[np.bool_]:
    """Return which pairs (m, 2) are among the ``most`` with the least ``apart`` (m,) of either row, bool (m,)."""
    owners = pairs.T.ravel()
    order = np.lexsort((np.tile(apart, 2), owners))
    owners = owners[order]
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    rank = np.arange(len(owners)) - np.repeat(starts, np.diff(np.append(starts, len(owners))))
    chosen = np.zeros(len(pairs), dtype=np.bool_)
    chosen[order[rank < most] % max(1, len(pairs))] = True
    return chosen


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


def _unique(pairs: Rows) -> Rows:
    """Return each pair (m, 2) once, the smaller row first, ascending."""
    n = int(pairs.max(initial=0)) + 1
    return np.stack(np.divmod(np.unique(pairs.min(axis=1) * n + pairs.max(axis=1)), n), axis=1)


# -- Confirmation ---------------------------------------------------------------------------------
def _usual_differences(
    signatures: Pixels, graph: Graph | None, rows: Rows, usable: NDArray[np.bool_], most: float, tell: Tell
) -> Floats:
    """Return the median difference of each of ``rows`` to farther neighbors, (m,); NaN without such neighbors.

    One above ``most`` may be of one direction only, and is above it in any case.
    """
    usual = np.full(len(rows), np.nan, dtype=np.float32)
    k = 0 if graph is None else graph.indices.shape[1]
    if graph is None or k < 2:
        return usual
    columns = np.unique(np.linspace(k // 3, k - 1, _USUAL_OF).round().astype(np.int64))
    inside = np.flatnonzero(rows < len(graph.indices))
    others = graph.indices[rows[inside]][:, columns].astype(np.int64)
    valid = (others >= 0) & usable[others]
    pairs = np.stack(np.broadcast_arrays(rows[inside][:, None], others), axis=2)[valid]
    values = np.full(others.shape, np.nan, dtype=np.float32)
    values[valid] = _differences(signatures, pairs, most, "Comparing with other images of the kind", tell)
    has_any = valid.any(axis=1)
    usual[inside[has_any]] = np.nanmedian(values[has_any], axis=1)
    return usual


# -- Groups ---------------------------------------------------------------------------------------
def without_chains(signatures: Pixels, pairs: Rows, apart: Floats, limit: float, tell: Tell) -> NDArray[np.bool_]:
    """Return which pairs (m, 2) remain when groups are cut that are chains of images that are merely alike, bool (m,).

    Among copies most pairs differ by at most ``limit``. A group of more than LARGE images for which this is not so, on
    a random sample, loses the half of its pairs that differ most, ``apart`` (m,), and its parts are checked again.
    """
    remaining = np.ones(len(pairs), dtype=np.bool_)
    waiting = np.arange(len(pairs))
    while len(waiting):
        members, place = np.unique(pairs[waiting], return_inverse=True)
        group = grouped(place.reshape(-1, 2), len(members))
        of_pair = group[place.reshape(-1, 2)[:, 0]]
        by_group, by_pair = np.argsort(group, kind="stable"), np.argsort(of_pair, kind="stable")
        again = [np.zeros(0, dtype=np.int64)]
        large = np.flatnonzero(np.bincount(group, minlength=len(members)) > LARGE)
        unlike = _are_unlike(
            signatures, [members[_equal_to(number, group, by_group)] for number in large.tolist()], limit, tell
        )
        for number in large[unlike].tolist():
            inside = waiting[_equal_to(number, of_pair, by_pair)]
            order = inside[np.lexsort((inside, apart[inside]))]
            again.append(np.sort(order[: len(order) // 2]))
            remaining[order[len(order) // 2 :]] = False
        waiting = np.concatenate(again)
    return remaining


def _equal_to(value: int, values: Rows, order: Rows) -> Rows:
    """Return the ascending places of ``value`` in ``values``, which ``order`` sorts stably, without reading all."""
    first, last = (np.searchsorted(values, value, side, sorter=order) for side in ("left", "right"))
    return order[first:last]


def _are_unlike(signatures: Pixels, groups: list[Rows], limit: float, tell: Tell) -> NDArray[np.bool_]:
    """Return for each group of rows whether most of a random sample of pairs differ by more than ``limit``."""
    pairs = np.zeros((len(groups), _SAMPLE, 2), dtype=np.int64)
    for rows, sample in zip(groups, pairs, strict=True):
        rng = np.random.default_rng(int(rows[0]))
        first = rng.integers(0, len(rows), _SAMPLE)
        second = (first + rng.integers(1, len(rows), _SAMPLE)) % len(rows)
        sample[:] = np.stack([rows[first], rows[second]], axis=1)
    apart = _differences(signatures, pairs.reshape(-1, 2), 1.0, "Checking large groups", tell)
    unlike: NDArray[np.bool_] = np.median(apart.reshape(len(groups), _SAMPLE), axis=1) > limit
    return unlike


def grouped(pairs: Rows, n: int) -> Rows:
    """Return the smallest row of each row's group, (n,): rows that pairs connect, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, group = connected_components(edges, directed=False)
    _, first = np.unique(group, return_index=True)
    smallest: Rows = first[group].astype(np.int64)
    return smallest
