"""Sorting items by a field: what comes first, and where a page goes on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labeling.fields import Column

Rows = NDArray[np.int64]
Keys = NDArray[np.float64]


def sort_keys(column: Column, *, is_descending: bool) -> Keys:
    """A number for each row, (n_rows,), the smaller the earlier; infinite where the value is unknown."""
    keys = column.values.astype(np.float64)
    if is_descending:
        np.negative(keys, out=keys)
    keys[~column.known()] = math.inf
    return keys


def first_by(keys: Keys, rows: Rows, k: int) -> Rows:
    """The first ``k`` of the ascending ``rows`` by their keys, equal ones by row; rows beyond the keys are last.

    O(n + k log k).
    """
    if k <= 0 or not len(rows):
        return rows[:0]
    own = _of_rows(keys, rows)
    if k < len(rows):
        limit = np.partition(own, k - 1)[k - 1]
        surely = np.flatnonzero(own < limit)
        chosen = np.concatenate([surely, np.flatnonzero(own == limit)[: k - len(surely)]])
    else:
        chosen = np.arange(len(rows))
    ordered: Rows = rows[chosen[np.argsort(own[chosen], kind="stable")]]
    return ordered


def behind(keys: Keys, rows: Rows, last: int) -> Rows:
    """Those of the ascending ``rows`` that come after the row ``last`` in this order; all where that is negative."""
    if last < 0:
        return rows
    (limit,) = _of_rows(keys, np.array([last]))
    own = _of_rows(keys, rows)
    left: Rows = rows[(own > limit) | ((own == limit) & (rows > last))]
    return left


def _of_rows(keys: Keys, rows: Rows) -> Keys:
    here = rows < len(keys)
    if here.all():
        return keys[rows]
    found = np.full(len(rows), math.inf)
    found[here] = keys[rows[here]]
    return found
