"""Dividing labelled items into train, val and test: stratified, seeded, what belongs together kept together.

Pure: arrays in, arrays out. The result depends on the seed, the file hashes and the class names only, never
on the order of the rows, the machine or ``PYTHONHASHSEED``.
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
    """An unsigned 64-bit number drawn for ``group`` (a file's SHA-256): items of equal key stay together.

    A keyed BLAKE2b; that any two of a million different files share a key has a chance below 1 in 10
    million, and then they merely travel together.
    """
    keyed = hashlib.blake2b(
        group.encode("utf-8", "surrogatepass"), digest_size=8, key=str(seed).encode(), person=_PERSON
    )
    return int.from_bytes(keyed.digest(), "big")


class Files:
    """The files of items, as keys for the splits: 8 bytes a file and 4 an item."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._keys, self._counts = array("Q"), array("I")

    def add(self, hashes: Sequence[str]) -> None:
        """The files of the next item; one at least."""
        self._keys.extend(split_key(sha256, self._seed) for sha256 in hashes)
        self._counts.append(len(hashes))

    def keys(self) -> list[NDArray[np.uint64]]:
        """Columns (n,) for :func:`joined`: each item's first file, its second, …; where it has no more,
        the first again."""
        keys, counts = np.asarray(self._keys, dtype=np.uint64), np.asarray(self._counts, dtype=np.int64)
        if not len(counts):
            return [keys]
        firsts = np.cumsum(counts) - counts
        return [keys[firsts + np.where(counts > number, number, 0)] for number in range(counts.max())]


def joined(keys: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """One key an item from several: items that share any key, directly or through others, get the same one.

    Parameters
    ----------
    keys
        Columns of keys, each of shape (n,), at least one. Equal keys join items whichever columns they stand in, so a
        file may be one item's first frame and another's second. An item with nothing to say in a column repeats a key
        of its own there.

    Returns
    -------
    Shape (n,): the smallest key of each item's group, so the order of rows and of columns does not matter.

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
    # Keys are sorted: the first of a group is its smallest.
    _, first = np.unique(group[n:], return_index=True)
    smallest: NDArray[np.uint64] = distinct[first[group[:n]]]
    return smallest


def quotas(sizes: Sequence[int], proportions: Sequence[int]) -> NDArray[np.int64]:
    """How many items of each class each split should get.

    Parameters
    ----------
    sizes
        Items per class, shape (classes,).
    proportions
        Weights of the splits (whole numbers, at least one of them positive), shape (splits,).

    Returns
    -------
    (classes, splits) counts; every row sums to its size and every cell is the exact share rounded up or down.
    A class's left-over items go to the splits with the largest remainder, counting what earlier classes could
    not give them: else many small classes would all round the same split away.
    """
    weights = np.asarray(proportions, dtype=np.int64)
    total = int(weights.sum())
    if total <= 0 or (weights < 0).any():
        raise ValueError("The proportions of the splits have to be 0 or more, and not all 0.")
    counts = np.zeros((len(sizes), len(weights)), dtype=np.int64)
    owed = np.zeros(len(weights), dtype=np.int64)  # in units of 1/total of an item: whole numbers, no rounding
    for index, size in enumerate(sizes):
        floors, remainders = np.divmod(size * weights, total)
        left = size - int(floors.sum())
        claims = owed + remainders
        # A cell whose share is a whole number already has it.
        order = np.lexsort((np.arange(len(weights)), -claims, remainders == 0))
        counts[index] = floors
        counts[index, order[:left]] += 1
        owed += size * weights - counts[index] * total
    return counts


def assign_splits(
    keys: NDArray[np.uint64], classes: NDArray[np.int64], *, proportions: Sequence[int]
) -> NDArray[np.int8]:
    """The split (position in ``proportions``) of every item.

    Parameters
    ----------
    keys
        :func:`split_key` of every item, shape (n,), or what :func:`joined` makes of several.
    classes
        Class of every item, shape (n,): 0, 1, 2 … in an order that means something (by name), because a
        class's rounding takes earlier classes into account.
    proportions
        Weights of the splits.

    Returns
    -------
    Shape (n,), int8. Items of one key share one split. Groups of several items are placed first, the larger ones
    before the smaller: each where the most of its items are still wanted, class by class; of equals where most is
    missing. Single items then fill the quotas of their class exactly, in the order of their keys, unless groups
    overfilled them.

    Notes
    -----
    O(n log n) time and about 60 bytes an item. n = 0 gives an empty array.
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
    """Places every group of several items, and takes them off what is ``missing`` (classes, splits)."""
    grouped = np.flatnonzero(sizes[group_of] > 1)
    pairs, counts = np.unique(group_of[grouped].astype(np.int64) * len(missing) + classes[grouped], return_counts=True)
    groups, labels = np.divmod(pairs, len(missing))
    held: dict[int, list[tuple[int, int]]] = {}
    for group, label, count in zip(groups.tolist(), labels.tolist(), counts.tolist(), strict=True):
        held.setdefault(group, []).append((label, count))
    left = missing.tolist()  # plain numbers: a few at a time are quicker without NumPy
    splits = range(missing.shape[1])
    for group in sorted(held, key=lambda one: (-sizes[one], one)):
        parts = held[group]
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
    """Splits for ``n`` single items of one class, in the order of their keys, to fill up what is missing."""
    # Where a large group overfilled its split, the others come short: whoever was to get most gives first.
    room = np.maximum(missing, 0)
    for _ in range(int(room.sum()) - n):
        room[np.argmax(room)] -= 1
    # The smallest keys go to the last split (test): it changes least as labels are added.
    return np.repeat(np.arange(len(missing))[::-1], room[::-1]).astype(np.int8)
