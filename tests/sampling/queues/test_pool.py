"""The pool: the states and labels of all items by row, read once and then updated."""

from __future__ import annotations

import numpy as np
import pytest

from labeling.models import Dataset, Item, LabelClass, State
from sampling.queues import pool
from sampling.queues.pool import UNAVAILABLE, pool_of
from tests.factories import MakeDataset, decide, fresh

pytestmark = pytest.mark.django_db


def check(dataset: Dataset) -> None:
    """Compare the pool with the database, item by item."""
    found = pool_of(dataset)
    states = np.full(dataset.n_items, UNAVAILABLE, np.uint8)
    labels = np.zeros(dataset.n_items, np.int64)
    for item in Item.objects.filter(dataset=dataset, row__lt=dataset.n_items):
        states[item.row] = item.state if item.is_available else UNAVAILABLE
        labels[item.row] = item.label_id or 0
    np.testing.assert_array_equal(found.states, states)
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("has_gap", [False, True])
@pytest.mark.parametrize("n_missing", [0, 3])
def test_it_is_what_the_database_says(make_dataset: MakeDataset, n_missing: int, has_gap: bool) -> None:
    dataset, other = make_dataset(30), make_dataset(5, name="others")
    decide(dataset, "assign", [0, 3, 29], "cat")
    decide(dataset, "unsure", [4])
    decide(dataset, "skip", [5, 6])
    decide(other, "assign", [1], "dog")
    Item.objects.filter(dataset=dataset, row__in=[3, 7, 8][:n_missing]).update(is_available=False)
    Dataset.objects.filter(pk=dataset.pk).update(n_missing=n_missing)
    if has_gap:
        Item.objects.filter(dataset=dataset, row=12).delete()
    pool.forget()
    check(fresh(dataset))
    decide(dataset, "assign", [9], "dog")
    check(fresh(dataset))
    check(fresh(other))


def test_new_items_are_added(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(10)
    check(dataset)
    label = LabelClass.objects.filter(dataset=dataset).earliest("pk")
    for row in range(10, 14):
        state, label_id = (State.LABELLED, label.pk) if row == 12 else (State.UNLABELLED, None)
        Item.objects.create(dataset=dataset, row=row, path=f"new{row}.png", state=state, label_id=label_id)
    check(fresh(dataset))  # not counted yet
    Dataset.objects.filter(pk=dataset.pk).update(n_items=14)
    check(fresh(dataset))
