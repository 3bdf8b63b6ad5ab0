"""Rank all images in the order of the folder or by a field, and find where the next page begins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labeling.fields import Column
from sampling.queues.strategy import Inputs, Ranking

Rows = NDArray[np.int64]
Keys = NDArray[np.float64]
Order = Literal["ascending", "descending"]


@dataclass(frozen=True)
class AllParams:
    """The name of the field to sort by ("": the order of the folder), and the direction."""

    sort: str = ""
    order: Order = "ascending"


def everything(inputs: Inputs, params: AllParams, k: int) -> Ranking:
    """Rank the candidates in the order of the folder or by a field: items without a value last, ties by row."""
    if params.sort:
        assert inputs.column is not None
        keys = sort_keys(inputs.column(params.sort), is_descending=params.order == "descending")
        left = behind(keys, inputs.candidates, inputs.after)
        rows = first_by(keys, left, k)
        reason = f"By {params.sort}, {params.order}"
    else:
        left = inputs.candidates[np.searchsorted(inputs.candidates, inputs.after, side="right") :]
        rows, reason = left[:k], "In the order of the folder"
    return Ranking.of(rows, np.zeros(len(rows)), reason, is_complete=len(rows) == len(left))


def sort_keys(column: Column, *, is_descending: bool) -> Keys:
    """Return a sort key for each row, (n_rows,), smaller for earlier; infinite if the value is unknown."""
    keys = column.values.astype(np.float64)
    if is_descending:
        np.negative(keys, out=keys)
    keys[~column.known()] = math.inf
    return keys


def first_by(keys: Keys, rows: Rows, k: int) -> Rows:
    """Return the first ``k`` of the ascending ``rows`` by their keys, ties by row; rows beyond the keys come last.

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
    """Return those of the ascending ``rows`` that come after the row ``last`` in this order; all if it is negative."""
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
