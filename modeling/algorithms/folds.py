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


def _mixed(numbers: NDArray[np.integer[Any]], seed: int) -> NDArray[np.uint64]:
    """Scramble integers with splitmix64 (Steele, Lea and Flood, 2014), in whole numbers alone."""
    start = int.from_bytes(blake2b(str(seed).encode(), digest_size=8).digest(), "big")
    value = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
