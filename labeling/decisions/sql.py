"""The few statements that saving a label consists of, in SQL that SQLite and PostgreSQL share.

A person waits for these at every key, and they are most of what the server does. Written out they take a quarter of
the time that building the same statements through the ORM does (benchmarks/pages.py), and one statement brings any
number of items up to date. Everything else in the project goes through the ORM.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from operator import attrgetter
from typing import Any

from django.db import connection, models

from labeling.models import Action, Annotation, Dataset, Item

# Annotations in one INSERT: 500 rows of 18 columns stay far below the number of parameters that either allows.
ROWS_AT_ONCE = 500
COUNTERS = ("n_items", "n_labelled", "n_unsure", "n_skipped", "n_decisions")


# Fields whose values go to the database as they are: preparing each costs more than the statement they are for.
_PLAIN = (models.IntegerField, models.FloatField, models.CharField, models.BooleanField, models.ForeignKey)
_one_at_a_time = threading.Lock()


def turn() -> AbstractContextManager[object]:
    """Holds back this process's other writers. SQLite takes one at a time and lets the others try again after ever
    longer naps, so that with eight people at once the unlucky wait thirty times as long as the lucky."""
    return _one_at_a_time if connection.vendor == "sqlite" else nullcontext()


def dataset_of_slug(slug: str) -> Dataset | None:
    """The dataset whose decisions are sent to this address; the ORM reads its other fields when they are asked for."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, slug FROM labeling_dataset WHERE slug = %s", [slug])
        values = cursor.fetchone()
    return Dataset.from_db(connection.alias, ("id", "slug"), values) if values else None


def items_for_update(dataset: Dataset, ids: Iterable[int]) -> dict[int, Item]:
    """Those items of the dataset by id, locked until the transaction ends.

    The dataset is locked before them, as ingest and merges do: whoever changes labels takes turns here, so that
    nobody deadlocks and no class is retired between its check and its use.
    """
    wanted = sorted(set(ids))
    names = tuple(field.attname for field in Item._meta.concrete_fields)
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    found: dict[int, Item] = {}
    with connection.cursor() as cursor:
        if lock:
            cursor.execute("SELECT 1 FROM labeling_dataset WHERE id = %s FOR NO KEY UPDATE", [dataset.pk])
        for some in _batches(wanted):
            cursor.execute(
                f"SELECT {_columns(Item)} FROM labeling_item WHERE dataset_id = %s AND id IN ({_marks(some)}) "
                f"ORDER BY id{lock}",
                [dataset.pk, *some],
            )
            for values in cursor.fetchall():
                item = Item.from_db(connection.alias, names, values)
                found[item.pk] = item
    return found


def insert_action(action: Action) -> bool:
    """Write ``action`` and give it its id; False (and nothing written) when its uuid was written before."""
    fields = _fields(Action)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO labeling_action ({_columns(Action, fields)}) VALUES ({_marks(fields)}) "
            "ON CONFLICT (uuid) DO NOTHING RETURNING id",
            _values(action, fields),
        )
        written = cursor.fetchone()
    if written is None:
        return False
    action.pk = written[0]
    return True


def insert_annotations(annotations: Sequence[Annotation]) -> None:
    """Append the annotations and give them their ids."""
    fields = _fields(Annotation)
    row = f"({_marks(fields)})"
    with connection.cursor() as cursor:
        for some in _batches(annotations):
            cursor.execute(
                f"INSERT INTO labeling_annotation ({_columns(Annotation, fields)}) "
                f"VALUES {', '.join([row] * len(some))} RETURNING id, item_id",
                [value for annotation in some for value in _values(annotation, fields)],
            )
            ids = {item_id: written for written, item_id in cursor.fetchall()}
            for annotation in some:
                annotation.pk = ids[annotation.item_id]


def settle_items(action: Action, *, is_undo: bool) -> None:
    """Derive the state of the action's items from its annotations.

    The decision that holds is the annotation itself, or after an undo the one that the annotation went back to.
    """
    decision = "a.previous_id" if is_undo else "a.id"
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_item SET state = a.state, label_id = a.label_id, newest_annotation_id = a.id, "
            f"decision_id = {decision} FROM labeling_annotation a "
            "WHERE a.action_id = %s AND labeling_item.id = a.item_id",
            [action.pk],
        )


def add_to_counters(dataset: Dataset, changes: dict[str, int], labels: dict[int, int]) -> dict[str, int]:
    """Add ``changes`` to the dataset's counters and ``labels`` (by class id) to those of its classes.

    Returns the dataset's counters by field name as they are now.
    """
    with connection.cursor() as cursor:
        assignments = ", ".join(f"{name} = {name} + %s" for name in changes)
        cursor.execute(
            f"UPDATE labeling_dataset SET {assignments} WHERE id = %s RETURNING {', '.join(COUNTERS)}",
            [*changes.values(), dataset.pk],
        )
        counters = dict(zip(COUNTERS, cursor.fetchone(), strict=True))
        for label_id, change in sorted(labels.items()):
            cursor.execute("UPDATE labeling_labelclass SET n_items = n_items + %s WHERE id = %s", [change, label_id])
    return counters


def class_counts(dataset: Dataset) -> dict[int, int]:
    """Items of each class in use, by class id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, n_items FROM labeling_labelclass WHERE dataset_id = %s AND NOT is_retired",
            [dataset.pk],
        )
        return dict(cursor.fetchall())


@cache
def _fields(model: type[models.Model]) -> tuple[models.Field[Any, Any], ...]:
    return tuple(field for field in model._meta.concrete_fields if not field.primary_key)


@cache
def _columns(model: type[models.Model], fields: tuple[models.Field[Any, Any], ...] | None = None) -> str:
    return ", ".join(str(field.column) for field in fields or model._meta.concrete_fields)


@cache
def _attributes(
    fields: tuple[models.Field[Any, Any], ...],
) -> tuple[attrgetter[Any], tuple[tuple[int, models.Field[Any, Any]], ...]]:
    """What reads the values of ``fields`` from a row, and those (by position) that have to be prepared."""
    # Those with choices hold members of an enumeration, which are no plain values.
    prepared = ((at, one) for at, one in enumerate(fields) if not isinstance(one, _PLAIN) or one.choices)
    return attrgetter(*(field.attname for field in fields)), tuple(prepared)


def _values(row: models.Model, fields: tuple[models.Field[Any, Any], ...]) -> list[Any]:
    read, prepared = _attributes(fields)
    values = list(read(row))
    for at, field in prepared:
        values[at] = field.get_db_prep_save(field.pre_save(row, add=True), connection=connection)
    return values


def _marks(values: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(values))


def _batches(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + ROWS_AT_ONCE] for start in range(0, len(values), ROWS_AT_ONCE))
