"""Keep the state and label of every item in arrays by row: reading a million items from SQL for each pull is too slow.

Each process caches the arrays of the datasets it served last and updates them from the annotations written since,
so that a pull reads only a few rows. The arrays decide the ranking alone: the items of a page are checked against the
database again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache
from django.db.models import Max
from numpy.typing import NDArray

from labeling.models import Annotation, Dataset, Item, State

# Transactions may commit in another order than their ids were assigned: read this many ids again.
OVERLAP = 500
UNAVAILABLE = 255
_COLUMNS = ("row", "is_available", "state", "label_id")


@dataclass
class Pool:
    """State (uint8, 255 = not available) and class id (int64, 0 = none) of every item of a dataset, by row."""

    states: NDArray[np.uint8]
    labels: NDArray[np.int64]
    newest_annotation_id: int
    n_missing: int

    def rows(
        self,
        state: State | None = State.UNLABELLED,
        label_id: int | None = None,
        among: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Return the available rows in ``state`` (None: any) and of the class ``label_id``, ascending.

        ``among`` (ascending) restricts the search to these rows, which is fast if they are few.
        """
        if among is not None:
            among = among[: np.searchsorted(among, len(self.states))]
        states, labels = (each if among is None else each[among] for each in (self.states, self.labels))
        wanted = states != UNAVAILABLE if state is None else states == state
        if label_id is not None:
            wanted &= labels == label_id
        return np.flatnonzero(wanted).astype(np.int64) if among is None else among[wanted]


_pools: LRUCache[int, Pool] = LRUCache(4)
_lock = threading.Lock()


def pool_of(dataset: Dataset) -> Pool:
    """Return the dataset's pool, up to date; O(n) once per process, then O(annotations since the last call)."""
    with _lock:
        pool = _pools.pop(dataset.pk, None)
        dataset.refresh_from_db(fields=["n_items", "n_missing"])
        if pool is None or pool.n_missing != dataset.n_missing or len(pool.states) > dataset.n_items:
            pool = _empty(dataset)
        _add_rows(dataset, pool)
        _add_annotations(dataset, pool)
        _pools[dataset.pk] = pool
        return pool


def forget() -> None:
    """Discard all pools: for tests, and after a dataset was deleted."""
    with _lock:
        _pools.clear()


def _empty(dataset: Dataset) -> Pool:
    # The newest id is read before the items: an annotation in between is applied twice, never missed.
    newest = Annotation.objects.aggregate(newest=Max("pk"))["newest"] or 0
    return Pool(np.empty(0, np.uint8), np.empty(0, np.int64), newest, dataset.n_missing)


def _add_rows(dataset: Dataset, pool: Pool) -> None:
    n_known = len(pool.states)
    if n_known >= dataset.n_items:
        return
    states = np.full(dataset.n_items, UNAVAILABLE, np.uint8)
    labels = np.zeros(dataset.n_items, np.int64)
    states[:n_known], labels[:n_known] = pool.states, pool.labels
    new = Item.objects.filter(dataset=dataset, row__gte=n_known, row__lt=dataset.n_items)
    parts = [new]
    if new.count() == dataset.n_items - n_known:
        # No row is missing, and most items are available and have no label: only the others are read.
        states[n_known:] = State.UNLABELLED
        parts = [new.filter(state__gt=State.UNLABELLED)]
        parts += [new.filter(is_available=False)] if dataset.n_missing else []
    for part in parts:
        _set(states, labels, part.values_list(*_COLUMNS).iterator(chunk_size=10_000))
    pool.states, pool.labels = states, labels


def _add_annotations(dataset: Dataset, pool: Pool) -> None:
    newest = Annotation.objects.aggregate(newest=Max("pk"))["newest"] or 0
    if newest == pool.newest_annotation_id:
        return
    changed = Item.objects.filter(dataset=dataset, annotations__pk__gt=pool.newest_annotation_id - OVERLAP)
    _set(pool.states, pool.labels, changed.values_list(*_COLUMNS))
    pool.newest_annotation_id = newest


def _set(
    states: NDArray[np.uint8], labels: NDArray[np.int64], items: Iterable[tuple[int, bool, int, int | None]]
) -> None:
    for row, is_available, state, label in items:
        if row < len(states):
            states[row] = state if is_available else UNAVAILABLE
            labels[row] = label or 0
