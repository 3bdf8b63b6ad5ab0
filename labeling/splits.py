"""Dividing labelled items into train, val and test: stratified, seeded, identical files kept together.

Pure: arrays in, arrays out. The result depends on the seed, the file hashes and the class names only, never
on the order of the rows, the machine or ``PYTHONHASHSEED``.
"""

from __future__ import annotations

import hashlib
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
        :func:`split_key` of every item, shape (n,).
    classes
        Class of every item, shape (n,): 0, 1, 2 … in an order that means something (by name), because a
        class's rounding takes earlier classes into account.
    proportions
        Weights of the splits.

    Returns
    -------
    Shape (n,), int8. Items of one key share one split. A group of several identical files counts wholly for
    the class that most of them carry. Within a class the larger groups are placed first, each where most is
    missing; single files then fill the quotas exactly, in the order of their keys.

    Notes
    -----
    O(n log n) time and about 60 bytes an item. n = 0 gives an empty array.
    """
    if len(keys) == 0:
        return np.zeros(0, dtype=np.int8)
    group_keys, group_of, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    group_class = _majority(group_of, classes, len(group_keys))
    n_classes = int(classes.max()) + 1
    per_class = np.bincount(group_class, weights=sizes, minlength=n_classes).astype(np.int64)
    wanted = quotas(per_class.tolist(), proportions)
    split_of_group = np.zeros(len(group_keys), dtype=np.int8)
    # Largest groups first, then by key: np.unique has sorted the keys already.
    order = np.lexsort((np.arange(len(group_keys)), -sizes, group_class))
    starts = np.searchsorted(group_class[order], np.arange(n_classes + 1))
    for index in range(n_classes):
        members = order[starts[index] : starts[index + 1]]
        split_of_group[members] = _place(sizes[members], wanted[index])
    return split_of_group[group_of]


def _majority(group_of: NDArray[np.int64], classes: NDArray[np.int64], n_groups: int) -> NDArray[np.int64]:
    """The class that most items of each group carry; of equals the first."""
    n_classes = int(classes.max()) + 1
    pairs, counts = np.unique(group_of.astype(np.int64) * n_classes + classes, return_counts=True)
    groups, labels = np.divmod(pairs, n_classes)
    order = np.lexsort((labels, -counts, groups))
    first = np.searchsorted(groups[order], np.arange(n_groups))
    majority: NDArray[np.int64] = labels[order][first]
    return majority


def _place(sizes: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int8]:
    """Splits for one class's groups, given by falling size: larger ones greedily, single files to fill up."""
    placed = np.zeros(len(sizes), dtype=np.int8)
    missing = wanted.copy()
    n_large = int(np.searchsorted(-sizes, -1))
    for position in range(n_large):
        split = int(np.argmax(missing))
        placed[position] = split
        missing[split] -= sizes[position]
    # Where a large group overfilled its split, the others come short: whoever was to get most gives first.
    room = np.maximum(missing, 0)
    singles = len(sizes) - n_large
    for _ in range(int(room.sum()) - singles):
        room[np.argmax(room)] -= 1
    # The smallest keys go to the last split (test): it changes least as labels are added.
    fill = np.repeat(np.arange(len(wanted))[::-1], room[::-1])
    placed[n_large:] = fill
    return placed
