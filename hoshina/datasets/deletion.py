"""Delete a dataset with everything that was computed from it. Image files are never touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from hoshina.core.errors import Refusal
from hoshina.core.folder_size import folder_size
from hoshina.jobs.lifecycle import cancel_all, enqueue
from hoshina.jobs.models import Job
from hoshina.jobs.runner import Run
from labeling.images.decoder_pool import pictures
from labeling.images.revisions import picture_hash
from labeling.models import Action, Dataset, Frame, Item, Problem
from labeling.signals import regrouped
from modeling.models import EmbeddingSet, ModelVersion, Projection
from modeling.quick import checkpoints
from sampling.models import Round, ServedPage

KIND = "delete_dataset"
# Items, or other rows, per transaction: well under a second each, so that people can go on labeling.
_BATCH = 1000
# SQLite returns space to the disk only by writing the whole file anew, while which nobody can save labels: done if at
# least this much, and this share of the file, is free, and what stays is at most so large.
_WORTH_BYTES, _WORTH_SHARE, _MOST_LEFT = 32 * 2**20, 0.25, 512 * 2**20


# -- Before ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Contents:
    """Count what a deletion deletes; ``n_bytes`` of files in the store, without the database and thumbnails."""

    n_items: int
    n_decided: int
    n_models: int
    n_embeddings: int
    n_maps: int
    n_fields: int
    n_bytes: int


def contents_of(dataset: Dataset) -> Contents:
    """Return what a deletion would delete."""
    vectors = EmbeddingSet.objects.filter(dataset=dataset)
    return Contents(
        n_items=dataset.n_items,
        n_decided=dataset.n_decided,
        n_models=ModelVersion.objects.filter(dataset=dataset).count(),
        n_embeddings=sum(vectors.values_list("n_vectors", flat=True)),
        n_maps=Projection.objects.filter(dataset=dataset).count(),
        n_fields=dataset.fields.count(),
        n_bytes=_folders_bytes(dataset),
    )


def _folders(dataset: Dataset) -> Iterator[Path]:
    """Yield the dataset's folders in the store."""
    store = Path(settings.STORE_DIR)
    yield store / "vectors" / str(dataset.pk)
    yield store / "squares" / str(dataset.pk)
    yield store / "examples" / str(dataset.pk)
    yield store / "leakage" / str(dataset.pk)
    rows: tuple[tuple[str, QuerySet[Any]], ...] = (
        ("models", ModelVersion.objects.filter(dataset=dataset)),
        ("maps", Projection.objects.filter(dataset=dataset)),
        ("neighbours", EmbeddingSet.objects.filter(dataset=dataset)),
        ("fields", dataset.fields.all()),
        ("quick", Job.objects.filter(dataset_id=dataset.pk, kind="quick_train")),
    )
    for name, found in rows:
        yield from (store / name / str(pk) for pk in found.values_list("pk", flat=True))


def _folders_bytes(dataset: Dataset) -> int:
    return sum(folder_size(folder).n_bytes for folder in _folders(dataset))


def request(dataset: Dataset, user: User | None = None) -> Job:
    """Hide a dataset from all pages and commands, and queue the job that deletes it."""
    with transaction.atomic():
        hide(dataset)
        return enqueue(KIND, dataset_id=dataset.pk, params={"name": dataset.name}, user=user)


def hide(dataset: Dataset) -> None:
    """Hide a dataset: its address no longer exists, and its name is free."""
    Dataset.objects.filter(pk=dataset.pk).update(
        deleted_at=timezone.now(),
        is_watched=False,
        slug=f"deleted-{dataset.pk}-{timezone.now():%Y%m%d%H%M%S}",
        name=f"{dataset.name[:80]} (deleted, {dataset.pk})",
    )


# -- The job --------------------------------------------------------------------------------------
def delete(run: Run) -> dict[str, Any]:
    """Delete the dataset of a job in small transactions; continues where an earlier run stopped.

    Returns ``dataset``, ``items``, ``freed_bytes`` of the disk, and ``reusable_bytes`` that the database will fill
    with new data before it grows.
    """
    name = str(run.params.get("name", ""))
    dataset = Dataset.objects.filter(pk=run.dataset_id).first()
    if dataset is None:  # an earlier run was stopped at its very end
        return {"dataset": name, "items": 0, "freed_bytes": 0, "reusable_bytes": 0}
    run.stage("Waiting for other jobs")
    others = Job.objects.filter(dataset_id=dataset.pk).exclude(pk=run.job.pk)
    if active := cancel_all(others, run.check):
        raise Refusal(f"{active} has not ended.", "Cancel it on the Jobs page, then start this job again.")
    database_bytes = _database_bytes()
    freed = _folders_bytes(dataset)
    freed += _delete_pictures(dataset, run)
    n_items = _delete_items(dataset, run)
    run.stage("Deleting models and metadata")
    _delete_rest(dataset, others)
    run.stage("Returning disk space")
    reusable = _return_space()
    freed += max(0, database_bytes - _database_bytes())
    return {"dataset": name, "items": n_items, "freed_bytes": freed, "reusable_bytes": reusable}


def _delete_pictures(dataset: Dataset, run: Run) -> int:
    """Delete the cached pictures of the dataset's files; return their size."""
    run.stage("Deleting thumbnails")
    starts: list[int] = []
    for low, high in _row_ranges(dataset, 10 * _BATCH):
        # As a list: SQLite refuses to save progress while a query is being read and others write.
        frames = Frame.objects.filter(item__dataset=dataset, item__row__gte=low, item__row__lt=high)
        found = list(frames.values_list("sha256", "revision"))
        starts += [int(picture_hash(sha256, revision or 0)[:16], 16) for sha256, revision in found]
        run.check()
    return pictures().forget(np.array(starts, dtype=np.uint64), run.check)


def _delete_items(dataset: Dataset, run: Run) -> int:
    """Delete the items with all rows that refer to them; return their number."""
    items = Item.objects.of(dataset)
    n_items = items.count()
    run.stage("Deleting labels", n_items)
    for low, high in _row_ranges(dataset, _BATCH):
        with transaction.atomic():
            _delete_with_referring(items.filter(row__gte=low, row__lt=high))
        run.progress(min(high, n_items))
    _delete_actions(dataset, run)
    return n_items


def _row_ranges(dataset: Dataset, size: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows that cover the dataset's items."""
    ends = Item.objects.of(dataset).aggregate(first=Min("row"), last=Max("row"))
    if ends["last"] is not None:
        yield from ((low, low + size) for low in range(ends["first"], ends["last"] + 1, size))


def _delete_actions(dataset: Dataset, run: Run) -> None:
    """Delete the dataset's actions, from the newest on, since an undo refers to an earlier action."""
    ends = Action.objects.filter(dataset=dataset).aggregate(first=Min("pk"), last=Max("pk"))
    if ends["last"] is None:
        return
    for high in range(ends["last"] + 1, ends["first"], -_BATCH):
        # By the primary key alone: with the dataset, SQLite would search its index from the start each time.
        found = Action.objects.filter(pk__gte=high - _BATCH, pk__lt=high).values_list("pk", "dataset_id")
        pks = [pk for pk, dataset_id in found if dataset_id == dataset.pk]
        with transaction.atomic():
            _delete_with_referring(Action.objects.filter(pk__in=pks))
        run.check()


def _delete_with_referring(rows: QuerySet[Any]) -> None:
    """Delete rows and those of other models that refer to them, one step deep."""
    for field in rows.model._meta.get_fields(include_hidden=True):
        is_reference = field.auto_created and not field.concrete and (field.one_to_many or field.one_to_one)
        if is_reference and field.related_model is not rows.model:
            _delete_rows(field.related_model._default_manager.filter(**{f"{field.field.name}__in": rows}))
    _delete_rows(rows)


def _delete_rows(rows: QuerySet[Any]) -> None:
    """Delete rows with one statement, without loading them; the caller deletes what refers to them."""
    rows._raw_delete(rows.db)


def _delete_rest(dataset: Dataset, jobs: QuerySet[Job]) -> None:
    """Delete everything but the items: few rows, or rows that nothing refers to any more."""
    rounds = Round.objects.filter(dataset=dataset)
    while pks := list(rounds.order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        with transaction.atomic():
            _delete_rows(ServedPage.objects.filter(round__in=pks))
            _delete_rows(Round.objects.filter(pk__in=pks))
    while pks := list(Problem.objects.filter(dataset=dataset).order_by("path").values_list("pk", flat=True)[:_BATCH]):
        _delete_rows(Problem.objects.filter(pk__in=pks))
    for pk in jobs.filter(kind="quick_train").values_list("pk", flat=True):
        checkpoints.remove(pk)
    dataset.fields.all().delete()
    regrouped.send(sender=Dataset, dataset_id=dataset.pk)  # embeddings, models and maps, with their files
    jobs.delete()
    dataset.delete()


# -- Disk space -----------------------------------------------------------------------------------
def _database_bytes() -> int:
    """Return the size of the SQLite file with its log; 0 for a server."""
    if connection.vendor != "sqlite":
        return 0
    file = Path(str(connection.settings_dict["NAME"]))
    logs = file.with_name(f"{file.name}-wal")
    return sum(part.stat().st_size for part in (file, logs) if part.exists())


def _return_space() -> int:
    """Return free pages of SQLite to the disk where that takes seconds; return the bytes that stay to be reused."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return 0  # PostgreSQL reuses the space after its automatic vacuum
    with connection.cursor() as cursor:
        n_free, n_pages, size = (_pragma(cursor, name) for name in ("freelist_count", "page_count", "page_size"))
        free, left = n_free * size, (n_pages - n_free) * size
        if free < max(_WORTH_BYTES, _WORTH_SHARE * n_pages * size) or left > _MOST_LEFT:
            return free
        if Job.objects.filter(state=Job.State.RUNNING).count() > 1:  # others write
            return free
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return _pragma(cursor, "freelist_count") * size


def _pragma(cursor: Any, name: str) -> int:
    cursor.execute(f"PRAGMA {name}")
    return int(cursor.fetchone()[0])
