"""Run the statements that save a label, in SQL that works with SQLite and PostgreSQL.

Users wait for these at every key press, and they are most of what the server does. Handwritten, they take a quarter of
the time of the ORM (benchmarks/pages.py), and one statement updates any number of items. Everything else in the project
uses the ORM.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from operator import attrgetter
from typing import Any

from django.db import connection, models

from hoshina.core.batches import batched
from labeling.models import Action, Annotation, Dataset, Item

# Annotations per INSERT. 500 rows of 18 columns are far below the parameter limits of both databases.
ROWS_AT_ONCE = 500
COUNTERS = ("n_items", "n_labelled", "n_unsure", "n_skipped", "n_decisions")

# Fields whose values need no conversion. Converting each value takes longer than the statement itself.
_PLAIN = (models.IntegerField, models.FloatField, models.CharField, models.BooleanField, models.ForeignKey)
_writers = threading.Lock()


def writer_lock() -> AbstractContextManager[object]:
    """Return a lock that serializes the writers of this process with SQLite.

    SQLite allows one writer at a time, and the others retry after increasing delays. With eight concurrent users, the
    slowest would wait thirty times as long as the fastest.
    """
    return _writers if connection.vendor == "sqlite" else nullcontext()


def dataset_of_slug(slug: str) -> Dataset | None:
    """Return the dataset with this slug, or None. Its other fields are deferred."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, slug FROM labeling_dataset WHERE slug = %s", [slug])
        values = cursor.fetchone()
    return Dataset.from_db(connection.alias, ("id", "slug"), values) if values else None


def items_for_update(dataset: Dataset, ids: Iterable[int]) -> dict[int, Item]:
    """Return items of the dataset by ID, locked until the transaction ends.

    The dataset is locked first, as in ingest and merges. All changes of labels are therefore serialized, without
    deadlocks, and no class is retired between its check and its use.
    """
    # The plus sign keeps SQLite from reading all items of the dataset by an index instead of those with these IDs.
    names = tuple(field.attname for field in Item._meta.concrete_fields)
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    items: dict[int, Item] = {}
    with connection.cursor() as cursor:
        if lock:
            cursor.execute("SELECT 1 FROM labeling_dataset WHERE id = %s FOR NO KEY UPDATE", [dataset.pk])
        for batch in batched(sorted(set(ids)), ROWS_AT_ONCE):
            cursor.execute(
                f"SELECT {_columns(Item)} FROM labeling_item WHERE +dataset_id = %s AND id IN ({_marks(batch)}) "
                f"ORDER BY id{lock}",
                [dataset.pk, *batch],
            )
            for values in cursor.fetchall():
                item = Item.from_db(connection.alias, names, values)
                items[item.pk] = item
    return items


def insert_action(action: Action) -> bool:
    """Insert ``action`` and set its ID. Return False, without inserting, if its UUID already exists."""
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
    """Insert the annotations and set their IDs."""
    fields = _fields(Annotation)
    row = f"({_marks(fields)})"
    with connection.cursor() as cursor:
        for batch in batched(annotations, ROWS_AT_ONCE):
            cursor.execute(
                f"INSERT INTO labeling_annotation ({_columns(Annotation, fields)}) "
                f"VALUES {', '.join([row] * len(batch))} RETURNING id, item_id",
                [value for annotation in batch for value in _values(annotation, fields)],
            )
            ids = {item_id: written for written, item_id in cursor.fetchall()}
            for annotation in batch:
                annotation.pk = ids[annotation.item_id]


def settle_items(action: Action, *, is_undo: bool) -> None:
    """Derive the state of the action's items from its annotations.

    An item's current decision is the annotation itself or, after an undo, the one that the annotation restores.
    """
    decision = "a.previous_id" if is_undo else "a.id"
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_item SET state = a.state, label_id = a.label_id, newest_annotation_id = a.id, "
            f"decision_id = {decision} FROM labeling_annotation a "
            "WHERE a.action_id = %s AND labeling_item.id = a.item_id",
            [action.pk],
        )


def settle_dataset(dataset: Dataset) -> None:
    """Derive the state of all items of a dataset from their newest annotations, after these were restored."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_item SET state = a.state, label_id = a.label_id, newest_annotation_id = a.id, "
            "decision_id = CASE WHEN t.kind = %s THEN a.previous_id ELSE a.id END "
            "FROM labeling_annotation a JOIN labeling_action t ON t.id = a.action_id "
            "WHERE t.dataset_id = %s AND labeling_item.id = a.item_id AND NOT EXISTS "
            "(SELECT 1 FROM labeling_annotation b WHERE b.item_id = a.item_id AND b.id > a.id)",
            [str(Action.Kind.UNDO), dataset.pk],
        )


def add_to_counters(dataset: Dataset, changes: dict[str, int], labels: dict[int, int]) -> dict[str, int]:
    """Add to the counters of the dataset (by field) and its classes (by ID). Return the dataset's new ones."""
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
    """Return the number of items of each class in use, by class ID."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, n_items FROM labeling_labelclass WHERE dataset_id = %s AND NOT is_retired", [dataset.pk]
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
    """Return a getter of the values of ``fields``, and the fields (with positions) whose values need conversion."""
    # Fields with choices hold members of an enumeration, which need conversion.
    prepared = ((at, field) for at, field in enumerate(fields) if not isinstance(field, _PLAIN) or field.choices)
    return attrgetter(*(field.attname for field in fields)), tuple(prepared)


def _values(row: models.Model, fields: tuple[models.Field[Any, Any], ...]) -> list[Any]:
    read, prepared = _attributes(fields)
    values = list(read(row))
    for at, field in prepared:
        values[at] = field.get_db_prep_save(field.pre_save(row, add=True), connection=connection)
    return values


def _marks(values: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(values))
