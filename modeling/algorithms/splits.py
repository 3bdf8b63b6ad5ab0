"""Reproducible divisions of labelled rows: train/validation/test for an export, folds for cross-validation.

Both order rows by a keyed hash instead of a random stream, so the same rows and seed give the same answer on
any machine and with any library version.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SPLITS = ("train", "val", "test")


def grouped_stratified_split(
    labels: ArrayLike,
    groups: Sequence[str],
    *,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> NDArray[np.int8]:
    """Divide rows so that every class keeps the given fractions and no group is torn apart.

    Each class gets its share to within one row (the odd rows go where the whole is furthest behind), as far
    as the groups allow: groups larger than one row are placed first, the largest first, where most room is
    left. A class's first rows go to the first split, so that nothing is only ever tested.

    Parameters
    ----------
    labels
        (n,) class of each row: integers or strings.
    groups
        n names; rows of the same name (identical files, say) go to the same split.
    fractions
        Share of each split; they sum to 1. A split of fraction 0 stays empty.
    seed
        Another seed gives another division.

    Returns
    -------
    (n,) int8 positions into ``fractions``. A row's split does not depend on the order of the rows, and most
    rows keep theirs when rows are added.

    Raises
    ------
    ValueError
        Lengths differ, or fractions are negative or do not sum to 1.

    Notes
    -----
    O(n log n); one hash per distinct group.
    """
    label_values = np.asarray(labels)
    shares = np.asarray(fractions, dtype=np.float64)
    if label_values.ndim != 1 or label_values.size != len(groups):
        raise ValueError("Every row needs one label and one group.")
    if shares.ndim != 1 or not shares.size or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError("The fractions must be zero or more and sum to 1.")
    if not label_values.size:
        return np.zeros(0, dtype=np.int8)
    names, classes = np.unique(label_values, return_inverse=True)
    index: dict[str, int] = {}
    group_of = np.fromiter((index.setdefault(name, len(index)) for name in groups), np.int64, len(groups))
    rank = _hash_rank(list(index), seed)
    room = _quotas(np.bincount(classes, minlength=names.size), shares)
    size = np.bincount(group_of, minlength=len(index))
    split_of = np.full(len(index), -1, dtype=np.int8)
    _place_large_groups(split_of, room, classes, group_of, size, rank)
    _place_single_rows(split_of, room, classes, group_of, size, rank)
    result: NDArray[np.int8] = split_of[group_of]
    return result


def stratified_folds(y: ArrayLike, n_folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Deal rows to folds so that fold sizes, overall and within every class, differ by at most one.

    ``y`` is (n,); the result (n,) holds folds ``0..n_folds-1`` and depends on the positions of the rows, the
    classes and the seed alone. A class of fewer rows than folds is absent from some folds. Raises ValueError
    for fewer than two folds or more folds than rows.
    """
    values = np.asarray(y)
    if not 2 <= n_folds <= values.size:
        raise ValueError(f"{values.size} rows cannot be dealt to {n_folds} folds.")
    _, classes = np.unique(values, return_inverse=True)
    # Dealing goes on from class to class: a new start for each would fill the first folds.
    order = np.lexsort((_mixed(np.arange(values.size), seed), classes))
    folds = np.empty(values.size, dtype=np.int64)
    folds[order] = np.arange(values.size) % n_folds
    return folds


def _quotas(totals: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(classes, splits) rows to give: shares rounded up or down so that every class and the whole fit."""
    quotas = np.empty((totals.size, shares.size), dtype=np.int64)
    behind = np.zeros(shares.size)
    for position, total in enumerate(totals):
        exact = shares * total
        quota = np.floor(exact + 1e-9).astype(np.int64)
        rest = exact - quota
        may_grow = np.flatnonzero(rest > 1e-9)
        wish = (rest + behind)[may_grow]
        extra = may_grow[np.argsort(-wish, kind="stable")][: int(total - quota.sum())]
        quota[extra] += 1
        if quota[0] == 0 and shares[0] > 0:
            quota[int(quota.argmax())] -= 1
            quota[0] = 1
        behind += exact - quota
        quotas[position] = quota
    return quotas


def _place_large_groups(
    split_of: NDArray[np.int8],
    room: NDArray[np.int64],
    classes: NDArray[np.int64],
    group_of: NDArray[np.int64],
    size: NDArray[np.int64],
    rank: NDArray[np.int64],
) -> None:
    """Place every group of several rows, changing ``split_of`` and ``room``; such groups may mix classes."""
    large = np.flatnonzero(size > 1)
    rows = np.flatnonzero(size[group_of] > 1)
    rows = rows[np.argsort(group_of[rows], kind="stable")]
    starts = np.searchsorted(group_of[rows], large)
    allowed = np.flatnonzero(room.sum(axis=0) > 0)
    for place in np.lexsort((rank[large], -size[large])):
        start = starts[place]
        members, counts = np.unique(classes[rows[start : start + size[large[place]]]], return_counts=True)
        split = allowed[int((counts @ room[members][:, allowed]).argmax())]
        split_of[large[place]] = split
        room[members, split] -= counts


def _place_single_rows(
    split_of: NDArray[np.int8],
    room: NDArray[np.int64],
    classes: NDArray[np.int64],
    group_of: NDArray[np.int64],
    size: NDArray[np.int64],
    rank: NDArray[np.int64],
) -> None:
    """Fill the room that is left, class by class, with the groups of one row in order of their hash."""
    rows = np.flatnonzero(size[group_of] == 1)
    rows = rows[np.lexsort((rank[group_of[rows]], classes[rows]))]
    bounds = np.searchsorted(classes[rows], np.arange(room.shape[0] + 1))
    for position in range(room.shape[0]):
        members = rows[bounds[position] : bounds[position + 1]]
        # Large groups can overfill a split; the others then share what is left.
        free = np.maximum(room[position], 0)
        while free.sum() > members.size:
            free[int(free.argmax())] -= 1
        split_of[group_of[members]] = np.repeat(np.arange(free.size, dtype=np.int8), free)


def _hash_rank(names: list[str], seed: int) -> NDArray[np.int64]:
    """(n,) place of each of n distinct names in the order of their hashes under the seed."""
    key = str(seed).encode()
    digests = [blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest() for name in names]
    numbers = np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)
    rank = np.empty(numbers.size, dtype=np.int64)
    rank[np.argsort(numbers, kind="stable")] = np.arange(numbers.size)
    return rank


def _mixed(numbers: NDArray[np.integer[Any]], seed: int) -> NDArray[np.uint64]:
    """Scramble integers with splitmix64 (Steele, Lea and Flood, 2014), in whole numbers alone."""
    start = int.from_bytes(blake2b(str(seed).encode(), digest_size=8).digest(), "big")
    value = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
