"""Split labeled items into train, val and test sets: stratified, seeded and by whole groups.

Works on arrays only. The result depends only on the seed, the file hashes and the class names, not on the order of
rows, the machine or ``PYTHONHASHSEED``.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
_PERSON = b"hoshina-split"


def split_key(group: str, seed: int) -> int:
    """Return an unsigned 64-bit pseudorandom number for ``group`` (a file's SHA-256). Equal keys share a split.

    Uses a keyed BLAKE2b. The chance that any two of a million different files share a key is below 1 in 10 million, and
    they would merely share a split.
    """
    keyed = hashlib.blake2b(
        group.encode("utf-8", "surrogatepass"), digest_size=8, key=str(seed).encode(), person=_PERSON
    )
    return int.from_bytes(keyed.digest(), "big")


class Files:
    """The files of items as split keys, with 8 bytes per file and 4 per item."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._keys, self._counts = array("Q"), array("I")

    def add(self, hashes: Sequence[str]) -> None:
        """Add the files of the next item, at least one."""
        self._keys.extend(split_key(sha256, self._seed) for sha256 in hashes)
        self._counts.append(len(hashes))

    def keys(self) -> list[NDArray[np.uint64]]:
        """Return columns (n,) for :func:`joined`: each item's first file, second file (or again the first) …"""
        keys, counts = np.asarray(self._keys, dtype=np.uint64), np.asarray(self._counts, dtype=np.int64)
        if not len(counts):
            return [keys]
        firsts = np.cumsum(counts) - counts
        return [keys[firsts + np.where(counts > number, number, 0)] for number in range(counts.max())]


def joined(keys: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Combine several keys per item into one. Items that share any key, directly or through others, get the same key.

    Parameters
    ----------
    keys : At least one column of keys, each of shape (n,). Equal keys join items in any columns, because a file may be
        the first frame of one item and the second of another. Items without a key in a column repeat one of their
        others.

    Returns
    -------
    The smallest key of each item's group, shape (n,), which does not depend on the order of rows and columns.

    Notes
    -----
    Connected components of the graph of items and keys, O(n k log(n k)) for k columns.
    """
    if len(keys) == 1 or len(keys[0]) == 0:
        return keys[0]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(keys[0])
    distinct, number = np.unique(np.concatenate(keys), return_inverse=True)
    items = np.tile(np.arange(n), len(keys))
    edges = coo_array((np.ones(len(items), np.int8), (items, n + number)), shape=(n + len(distinct),) * 2)
    _, group = connected_components(edges, directed=False)
    # Keys are sorted, so the first one of a group is its smallest.
    _, first = np.unique(group[n:], return_index=True)
    smallest: NDArray[np.uint64] = distinct[first[group[:n]]]
    return smallest


def quotas(sizes: Sequence[int], proportions: Sequence[int]) -> NDArray[np.int64]:
    """Compute how many items of each class each split should get.

    Parameters
    ----------
    sizes : Items per class, shape (classes,).
    proportions : Weights of the splits (whole numbers, at least one of them positive), shape (splits,).

    Returns
    -------
    Counts, shape (classes, splits). Every row sums to the size of its class, and every count is the exact share rounded
    up or down. The remaining items of a class go to the splits with the largest remainders, including those carried
    over from earlier classes. Otherwise many small classes would all round the same split down to zero.
    """
    weights = np.asarray(proportions, dtype=np.int64)
    total = int(weights.sum())
    if total <= 0 or (weights < 0).any():
        raise ValueError("The proportions of the splits must be 0 or more, and not all 0.")
    counts = np.zeros((len(sizes), len(weights)), dtype=np.int64)
    owed = np.zeros(len(weights), dtype=np.int64)  # in units of 1/total items, which avoids rounding
    for index, size in enumerate(sizes):
        floors, remainders = np.divmod(size * weights, total)
        n_remaining = size - int(floors.sum())
        claims = owed + remainders
        # Splits whose exact share is a whole number get no more.
        order = np.lexsort((np.arange(len(weights)), -claims, remainders == 0))
        counts[index] = floors
        counts[index, order[:n_remaining]] += 1
        owed += size * weights - counts[index] * total
    return counts


def assign_splits(
    keys: NDArray[np.uint64], classes: NDArray[np.int64], *, proportions: Sequence[int]
) -> NDArray[np.int8]:
    """Assign every item to a split, given as an index into ``proportions``.

    Parameters
    ----------
    keys : The key of every item, shape (n,), from :func:`split_key` or :func:`joined`.
    classes : The class of every item, shape (n,), as 0, 1, 2 … in a reproducible order (by name), because the rounding
        of a class depends on earlier classes.
    proportions : Weights of the splits.

    Returns
    -------
    Splits, int8 (n,). Items of equal key share a split. Groups of several items are placed first, in descending order
    of size: each in the split whose quotas can take most of its items, summed over classes, and among those in the
    split with most free places. Single items then fill the quotas of their class exactly, in the order of their keys,
    unless groups have exceeded them.

    Notes
    -----
    O(n log n) time and about 60 bytes per item. Returns an empty array for n = 0.
    """
    if len(keys) == 0:
        return np.zeros(0, dtype=np.int8)
    group_keys, group_of, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    missing = quotas(np.bincount(classes).tolist(), proportions)
    split_of_group = np.full(len(group_keys), -1, dtype=np.int8)
    _place_groups(split_of_group, group_of, sizes, classes, missing)
    is_single = split_of_group < 0
    class_of_group = np.zeros(len(group_keys), np.int64)
    class_of_group[group_of] = classes
    for label in range(len(missing)):
        # np.unique has sorted the keys already.
        singles = np.flatnonzero(is_single & (class_of_group == label))
        split_of_group[singles] = _fill(len(singles), missing[label])
    return split_of_group[group_of]


def _place_groups(
    split_of_group: NDArray[np.int8],
    group_of: NDArray[np.int64],
    sizes: NDArray[np.int64],
    classes: NDArray[np.int64],
    missing: NDArray[np.int64],
) -> None:
    """Place every group of several items, and subtract them from the quotas ``missing`` (classes, splits)."""
    grouped = np.flatnonzero(sizes[group_of] > 1)
    pairs, counts = np.unique(group_of[grouped].astype(np.int64) * len(missing) + classes[grouped], return_counts=True)
    groups, labels = np.divmod(pairs, len(missing))
    parts_of: dict[int, list[tuple[int, int]]] = {}
    for group, label, count in zip(groups.tolist(), labels.tolist(), counts.tolist(), strict=True):
        parts_of.setdefault(group, []).append((label, count))
    left = missing.tolist()  # lists, because a few numbers at a time are faster without NumPy
    splits = range(missing.shape[1])
    for group in sorted(parts_of, key=lambda group: (-sizes[group], group)):
        parts = parts_of[group]
        best = max(
            splits,
            key=lambda split: (
                sum(min(count, max(left[label][split], 0)) for label, count in parts),
                sum(left[label][split] for label, _ in parts),
                -split,
            ),
        )
        for label, count in parts:
            left[label][best] -= count
        split_of_group[group] = best
    missing[:] = left


def _fill(n: int, missing: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the splits of ``n`` single items of one class, in the order of their keys, that fill ``missing``."""
    # If a large group exceeded the quota of its split, reduce the largest of the other quotas.
    capacity = np.maximum(missing, 0)
    for _ in range(int(capacity.sum()) - n):
        capacity[np.argmax(capacity)] -= 1
    # The smallest keys go to the last split (test), which therefore changes least as labels are added.
    return np.repeat(np.arange(len(missing))[::-1], capacity[::-1]).astype(np.int8)
