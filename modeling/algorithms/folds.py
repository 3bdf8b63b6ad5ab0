"""Reproducible folds for cross-validation.

Rows are ordered by a keyed hash instead of a random stream, so the same rows and seed give the same folds on
any machine and with any library version.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


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


def grouped_folds(y: ArrayLike, groups: ArrayLike, n_folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Deal whole groups to folds, so that folds are as even as groups allow, overall and within every class.

    Parameters
    ----------
    y
        (n,) classes.
    groups
        (n,) whole numbers; rows of equal number get one fold.
    n_folds
        Two or more, and no more than there are groups: then no fold is empty.
    seed
        Decides among groups of equal size.

    Returns
    -------
    (n,) folds ``0..n_folds-1``, of the groups' numbers, the classes and the seed alone: not of the order of the rows.

    Raises
    ------
    ValueError
        Fewer than two folds, or more folds than groups.

    Notes
    -----
    The greedy rule of stratified group folds (scikit-learn's ``StratifiedGroupKFold``): the largest group first, each
    to the fold in which the classes it holds are rarest, as shares of the class, and which is smallest: where it adds
    least to the squared shares of the classes, and of all rows, that folds hold. O(n log n + parts * folds), where a
    part is what a group holds of a class.
    """
    classes = np.unique(np.asarray(y), return_inverse=True)[1]
    numbers, group = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= n_folds <= numbers.size:
        raise ValueError(f"{numbers.size} groups cannot be dealt to {n_folds} folds.")
    n_classes, of_class = int(classes.max()) + 1, np.bincount(classes).tolist()
    pairs, counts = np.unique(group * n_classes + classes, return_counts=True)
    starts = np.searchsorted(pairs, np.arange(numbers.size + 1) * n_classes).tolist()
    labels, held = (pairs % n_classes).tolist(), counts.tolist()
    sizes = np.bincount(group)
    # Plain lists: a few numbers at a time are quicker without NumPy.
    table = [[0] * n_classes for _ in range(n_folds)]
    full, size_of = [0] * n_folds, sizes.tolist()
    fold_of = np.empty(numbers.size, dtype=np.int64)
    for one in np.lexsort((_mixed(numbers, seed), -sizes)).tolist():
        parts = [(labels[at], held[at]) for at in range(starts[one], starts[one + 1])]
        crowding = [
            full[fold] * size_of[one] / classes.size**2
            + sum(table[fold][label] * count / of_class[label] ** 2 for label, count in parts)
            for fold in range(n_folds)
        ]
        best = crowding.index(min(crowding))
        for label, count in parts:
            table[best][label] += count
        full[best] += size_of[one]
        fold_of[one] = best
    return fold_of[group]


def groups_per_class(y: NDArray[np.integer[Any]], groups: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """(c,) how many groups ``groups`` (n,) have each class of ``y`` (n,), up to the last class there is."""
    numbers = np.unique(groups, return_inverse=True)[1]
    n_classes = int(y.max(initial=-1)) + 1
    return np.bincount(np.unique(numbers * n_classes + y) % n_classes, minlength=n_classes)


def _mixed(numbers: NDArray[np.integer[Any]], seed: int) -> NDArray[np.uint64]:
    """Scramble integers with splitmix64 (Steele, Lea and Flood, 2014), in whole numbers alone."""
    start = int.from_bytes(blake2b(str(seed).encode(), digest_size=8).digest(), "big")
    value = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
