"""Write the results of a scan in bulk: items, frames, availability and problems."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from django.db import connection
from django.db.models import F, Max, Model, QuerySet

from labeling.images.file_check import Examined
from labeling.models import MAX_PATH, Dataset, Frame, Item, Problem

ROLE = "image"
# The largest path that PostgreSQL's index of (dataset, path) accepts.
MAX_PATH_BYTES = 2500
# The columns of a frame that describe its file.
FILLED = ("sha256", "size", "mtime_ns", "width", "height", "format", "revision", "note")
values_of: Callable[[Examined], tuple[Any, ...]] = attrgetter(*FILLED)


def next_row(dataset: Dataset) -> int:
    """Return the row of the dataset's next item."""
    newest = Item.objects.filter(dataset=dataset).aggregate(newest=Max("row"))["newest"]
    return 0 if newest is None else newest + 1


def insert(dataset: Dataset, new: Sequence[tuple[str, Examined]]) -> None:
    """Create items from new files. The dataset must be locked."""
    if not new:
        return
    # A run that was presumed dead may have resumed and written some of them.
    existing = _existing_paths(dataset, [path for path, _ in new])
    new = [(path, examined) for path, examined in new if path not in existing]
    first = insert_items(dataset, [path for path, _ in new])
    item_id = "(SELECT id FROM labeling_item WHERE dataset_id = %s AND row = %s)"
    frames = [
        (dataset.pk, row, dataset.pk, ROLE, path, *values_of(examined))
        for row, (path, examined) in enumerate(new, start=first)
    ]
    columns = ("item_id", "dataset_id", "role", "path", *FILLED)
    _insert_many(Frame, columns, ", ".join([item_id, *["%s"] * (len(columns) - 1)]), frames)


def _existing_paths(dataset: Dataset, paths: Sequence[str]) -> set[str]:
    """Return the paths that items already have. With the ORM, this filter takes as long as the inserts."""
    marks = ", ".join(["%s"] * len(paths))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT path FROM labeling_item WHERE dataset_id = %s AND path IN ({marks})",  # noqa: S608 - placeholders
            [dataset.pk, *paths],
        )
        return {path for (path,) in cursor.fetchall()}


def insert_items(dataset: Dataset, paths: Sequence[str]) -> int:
    """Create items without frames in consecutive rows, and return the first row. The dataset must be locked."""
    first = next_row(dataset)
    rows = [(dataset.pk, row, path) for row, path in enumerate(paths, start=first)]
    _insert_many(Item, ("dataset_id", "row", "path"), "%s, %s, %s", rows)
    Dataset.objects.filter(pk=dataset.pk).update(n_items=F("n_items") + len(rows))
    return first


def insert_frames(dataset: Dataset, new: Sequence[tuple[int, str, str, Examined]]) -> None:
    """Create frames from tuples of item ID, role, path and file properties."""
    columns = ("item_id", "dataset_id", "role", "path", *FILLED)
    rows = [(item_id, dataset.pk, role, path, *values_of(examined)) for item_id, role, path, examined in new]
    if rows:
        _insert_many(Frame, columns, ", ".join(["%s"] * len(columns)), rows)


def _insert_many(model: type[Model], columns: Sequence[str], values: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows with one prepared statement, several times as fast as ``bulk_create``. Other columns get defaults."""
    others = [field for field in model._meta.concrete_fields if not (field.primary_key or field.column in columns)]
    defaults = tuple(field.get_db_prep_save(field.get_default(), connection) for field in others)
    names = ", ".join(connection.ops.quote_name(name) for name in (*columns, *(str(field.column) for field in others)))
    marks = ", ".join([values, *["%s"] * len(others)])
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({marks})",  # noqa: S608 - fixed names
            [row + defaults for row in rows],
        )


def update_many(model: type[Model], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Update ``columns`` of many rows from tuples of the values followed by the primary key."""
    if not rows:
        return
    changes = ", ".join(f"{connection.ops.quote_name(name)} = %s" for name in columns)
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {model._meta.db_table} SET {changes} WHERE id = %s", rows)  # noqa: S608 - as above


def update_frames(changed: Sequence[tuple[int, Examined]]) -> None:
    """Update frames, given by primary key, to the current properties of their files."""
    update_many(Frame, FILLED, [(*values_of(examined), pk) for pk, examined in changed])


def set_available(dataset: Dataset, item_ids: Sequence[int], is_available: bool) -> int:
    """Set the availability of items and update the dataset's count. Return the number of items changed."""
    if not item_ids:
        return 0
    n = Item.objects.filter(pk__in=item_ids, is_available=not is_available).update(is_available=is_available)
    Dataset.objects.filter(pk=dataset.pk).update(n_missing=F("n_missing") + (-n if is_available else n))
    return n


def noted_frames(dataset: Dataset) -> QuerySet[Frame]:
    """Return the frames whose files have a defect but can be displayed, ordered by path."""
    return Frame.objects.filter(dataset=dataset).exclude(note="").order_by("path")


def write_problems(dataset: Dataset, problems: dict[str, str]) -> None:
    """Save problems, reasons by path. Existing problems of the same paths are updated."""
    Problem.objects.bulk_create(
        [Problem(dataset=dataset, path=path, reason=reason) for path, reason in problems.items()],
        update_conflicts=True,
        unique_fields=["dataset", "path"],
        update_fields=["reason", "seen_at"],
    )


def storable(path: str) -> str:
    """Return a path that the database accepts: invalid UTF-8 bytes are escaped as ``\\xe9``, long paths shortened."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if len(text) <= MAX_PATH and len(text.encode()) <= MAX_PATH_BYTES:
        return text
    return f"{text[:300]}…{hashlib.sha256(text.encode()).hexdigest()[:8]}…{text[-200:]}"
