"""Assign rows to reproducible folds for cross-validation.

Rows are ordered by a keyed hash instead of a random stream, so the same rows and seed give the same folds on any
machine and with any library version.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def stratified_folds(y: ArrayLike, n_folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Assign rows to folds so that fold sizes, overall and within every class, differ by at most one.

    ``y`` is (n,). The result (n,) holds folds ``0..n_folds-1`` and depends only on the positions of the rows, the
    classes and the seed. A class with fewer rows than folds is absent from some folds. Raises ValueError for fewer than
    two folds or more folds than rows.
    """
    values = np.asarray(y)
    if not 2 <= n_folds <= values.size:
        raise ValueError(f"{values.size} rows cannot be split into {n_folds} folds.")
    _, classes = np.unique(values, return_inverse=True)
    # Assignment continues from class to class: restarting for each class would overfill the first folds.
    order = np.lexsort((_splitmix64(np.arange(values.size), seed), classes))
    folds = np.empty(values.size, dtype=np.int64)
    folds[order] = np.arange(values.size) % n_folds
    return folds


def grouped_folds(y: ArrayLike, groups: ArrayLike, n_folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Assign whole groups to folds, as evenly as the groups allow, overall and within every class.

    Parameters
    ----------
    y
        (n,) classes.
    groups
        (n,) integers; rows with the same integer get the same fold.
    n_folds
        At least two and at most the number of groups, so that no fold is empty.
    seed
        Breaks ties between groups of equal size.

    Returns
    -------
    (n,) folds ``0..n_folds-1``. They depend on the group integers, the classes and the seed, not on the order of the
    rows.

    Raises
    ------
    ValueError
        If there are fewer than two folds, or more folds than groups.

    Notes
    -----
    The greedy rule of stratified group folds (scikit-learn's ``StratifiedGroupKFold``). Groups are assigned from
    largest to smallest, each to the fold where it adds least to the sum of squared shares per class and over all rows:
    a small fold in which the group's classes are rare. O(n log n + parts * folds), where a part is the rows of one
    class in one group.
    """
    classes = np.unique(np.asarray(y), return_inverse=True)[1]
    numbers, group = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= n_folds <= numbers.size:
        raise ValueError(f"{numbers.size} groups cannot be split into {n_folds} folds.")
    n_classes, class_sizes = int(classes.max()) + 1, np.bincount(classes).tolist()
    pairs, counts = np.unique(group * n_classes + classes, return_counts=True)
    starts = np.searchsorted(pairs, np.arange(numbers.size + 1) * n_classes).tolist()
    labels, held = (pairs % n_classes).tolist(), counts.tolist()
    sizes = np.bincount(group)
    # Plain lists: NumPy is slower for a few numbers at a time.
    table = [[0] * n_classes for _ in range(n_folds)]
    fold_sizes, group_sizes = [0] * n_folds, sizes.tolist()
    fold_of = np.empty(numbers.size, dtype=np.int64)
    for current in np.lexsort((_splitmix64(numbers, seed), -sizes)).tolist():
        parts = [(labels[at], held[at]) for at in range(starts[current], starts[current + 1])]
        cost = [
            fold_sizes[fold] * group_sizes[current] / classes.size**2
            + sum(table[fold][label] * count / class_sizes[label] ** 2 for label, count in parts)
            for fold in range(n_folds)
        ]
        best = cost.index(min(cost))
        for label, count in parts:
            table[best][label] += count
        fold_sizes[best] += group_sizes[current]
        fold_of[current] = best
    return fold_of[group]


def groups_per_class(y: NDArray[np.integer[Any]], groups: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return the number of ``groups`` (n,) that have each class of ``y`` (n,): (c,), up to the largest class."""
    numbers = np.unique(groups, return_inverse=True)[1]
    n_classes = int(y.max(initial=-1)) + 1
    return np.bincount(np.unique(numbers * n_classes + y) % n_classes, minlength=n_classes)


def _splitmix64(numbers: NDArray[np.integer[Any]], seed: int) -> NDArray[np.uint64]:
    """Hash integers with splitmix64 (Steele, Lea and Flood, 2014), in integer arithmetic only."""
    start = int.from_bytes(blake2b(str(seed).encode(), digest_size=8).digest(), "big")
    value = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
