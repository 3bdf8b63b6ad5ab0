"""List the items of a dataset in the order of the folder, by filters, one page after another.

Pages begin after a row (keyset pagination). Where state and class are the only filters, an index of the database finds
the items. For predictions and metadata, arrays by row are read in blocks from that row on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from django.db.models import QuerySet
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from labeling.models import Dataset, Item, State
from modeling.predictions import Predictions, active_predictions
from sampling.queues.field_filter import Condition, narrowed
from sampling.queues.pool import Pool, pool_of

# Rows that are read at once: few at first, as most pages need, and more where few of them match.
FIRST_BLOCK, LARGEST_BLOCK = 4_096, 65_536
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class ListFilters:
    """Hold the items to list; None and empty: any.

    ``predicted_id``: the predicted class. ``at_least``: the least probability of the predicted class. ``fields``:
    conditions on metadata. ``paths``: items with one of these paths.
    """

    state: State | None = None
    label_id: int | None = None
    predicted_id: int | None = None
    at_least: float | None = None
    fields: tuple[Condition, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def needs_arrays(self) -> bool:
        return self.predicted_id is not None or self.at_least is not None or bool(self.fields)


@dataclass(frozen=True)
class ItemPage:
    """Hold a page of items by ascending row; the next page begins after the row ``next_after`` (None: no more)."""

    items: list[Item]
    next_after: int | None


def list_items(dataset: Dataset, filters: ListFilters, after: int, limit: int) -> ItemPage:
    """Return up to ``limit`` items after the row ``after`` (-1: from the start).

    Raises Refusal without the predictions that a filter needs, and BadParameter for an unknown field or a bad value.
    """
    items = _items(dataset, filters).filter(row__gt=after).order_by("row")
    if not filters.needs_arrays:
        found = list(items[: limit + 1])
        return ItemPage(found[:limit], found[limit - 1].row if len(found) > limit else None)
    if filters.paths:
        raise Refusal("Paths cannot be combined with predictions or fields.", "Send two requests.", field="path")
    rows = _first_rows(dataset, filters, after, limit + 1)
    # An item may have been decided since the arrays were updated: the database has the last word.
    page = list(items.filter(row__in=rows[:limit].tolist()))
    return ItemPage(page, int(rows[limit - 1]) if len(rows) > limit else None)


def _items(dataset: Dataset, filters: ListFilters) -> QuerySet[Item]:
    if filters.label_id is not None:
        if filters.state not in (None, State.LABELLED):
            return Item.objects.none()
        # The class belongs to the dataset. Other conditions would tempt the database to use another index.
        items = Item.objects.filter(label_id=filters.label_id)
    else:
        items = Item.objects.filter(dataset=dataset)
        items = items if filters.state is None else items.filter(state=filters.state)
    return items.filter(path__in=filters.paths) if filters.paths else items


def _first_rows(dataset: Dataset, filters: ListFilters, after: int, limit: int) -> Rows:
    found: list[Rows] = []
    n_found = 0
    for rows in _matching(dataset, filters, after):
        found.append(rows)
        n_found += len(rows)
        if n_found >= limit:
            break
    return np.concatenate(found)[:limit] if found else np.empty(0, np.int64)


def _matching(dataset: Dataset, filters: ListFilters, after: int) -> Iterator[Rows]:
    """Yield the matching rows after ``after``, ascending, a block at a time."""
    is_by_prediction = filters.predicted_id is not None or filters.at_least is not None
    predictions = _required(dataset) if is_by_prediction else None
    pool = pool_of(dataset)
    n_rows = len(pool.states) if predictions is None else min(len(pool.states), len(predictions.probabilities))
    among = None
    if filters.fields:
        among = narrowed(dataset, np.arange(after + 1, n_rows), filters.fields)
    start, size = after + 1, FIRST_BLOCK
    while start < n_rows:
        stop = min(start + size, n_rows)
        rows = np.arange(start, stop) if among is None else among[slice(*np.searchsorted(among, (start, stop)))]
        rows = _of_state(pool, filters, rows)
        yield _predicted(predictions, filters, rows) if predictions is not None and len(rows) else rows
        start, size = stop, min(2 * size, LARGEST_BLOCK)


def _of_state(pool: Pool, filters: ListFilters, rows: Rows) -> Rows:
    if filters.state is not None:
        rows = rows[pool.states[rows] == filters.state]
    if filters.label_id is not None:
        rows = rows[pool.labels[rows] == filters.label_id]
    return rows


def _predicted(predictions: Predictions, filters: ListFilters, rows: Rows) -> Rows:
    """Return those of the ascending ``rows`` whose prediction passes, by classes of today: merged ones are summed."""
    columns = predictions.columns()
    block = predictions.probabilities[rows[0] : rows[-1] + 1]
    if len(rows) < len(block):
        block = block[rows - rows[0]]
    if all(len(at) == 1 for at in columns.values()):
        at_once = [at[0] for at in columns.values()]
        P = block if at_once == list(range(block.shape[1])) else block[:, at_once]
    else:
        P = np.stack([block[:, at].sum(axis=1) for at in columns.values()], axis=1)
    best = np.argmax(P, axis=1)
    highest = P[np.arange(len(P)), best]
    passes = ~np.isnan(highest)
    if filters.at_least is not None:
        passes &= highest >= filters.at_least
    if filters.predicted_id is not None:
        passes &= best == list(columns).index(filters.predicted_id) if filters.predicted_id in columns else False
    chosen: Rows = rows[passes]
    return chosen


def _required(dataset: Dataset) -> Predictions:
    predictions = active_predictions(dataset)
    if predictions is None or not predictions.columns():
        raise Refusal("No model yet", "There are no predictions to filter by. Start a job of the kind retrain.")
    return predictions
