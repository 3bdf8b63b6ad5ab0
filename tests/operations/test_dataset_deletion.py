"""Deleting a dataset: everything of it goes, nothing else does, and image files stay."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from hoshina.core.errors import Refusal
from hoshina.datasets import deletion
from hoshina.jobs import lifecycle
from hoshina.jobs.errors import Cancelled
from hoshina.jobs.models import Job
from hoshina.jobs.runner import Run
from labeling.images.decoder_pool import pictures
from labeling.models import Action, Annotation, Dataset, Frame, Item
from tests.factories import MakeDataset, MakeFolder, call_after, call_before, decide, fresh, interrupt_at
from tests.operations.stores import fill

OURS = ("labeling", "modeling", "sampling")


def counts() -> dict[str, int]:
    models = [model for model in apps.get_models(include_auto_created=True) if model._meta.app_label in OURS]
    return {model._meta.label: model._default_manager.count() for model in models}


def store_files(store: Path) -> set[str]:
    return {
        file.relative_to(store).as_posix() for file in store.rglob("*") if file.is_file() and "app.db" not in file.name
    }


def delete(dataset: Dataset) -> dict[str, Any]:
    """Delete a dataset as the command does."""
    deletion.hide(dataset)
    return dict(lifecycle.run_now(deletion.KIND, dataset_id=dataset.pk, params={"name": dataset.name}).result)


def stop_jobs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """End running jobs when they are cancelled, as their workers would."""

    def end(job: Job, reason: str = "") -> None:
        Job.objects.filter(pk=job.pk, state=Job.State.RUNNING).update(state=Job.State.CANCELLED)

    call_after(monkeypatch, lifecycle, "cancel", end)


@pytest.fixture
def both(file_store: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, Dataset]:
    """Provide two datasets with something of everything."""
    stop_jobs_at_once(monkeypatch)
    return fill(make_dataset, file_store, "first"), fill(make_dataset, file_store, "second")


def test_everything_of_it_is_deleted_and_nothing_else(
    file_store: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_jobs_at_once(monkeypatch)
    fill(make_dataset, file_store, "first")
    rows_before, files_before = counts(), store_files(file_store)
    assert all(rows_before[label] for label in ("labeling.Annotation", "sampling.Check", "sampling.ServedPage"))
    second = fill(make_dataset, file_store, "second")
    contents = deletion.contents_of(fresh(second))
    assert (contents.n_items, contents.n_decided, contents.n_models, contents.n_embeddings) == (30, 10, 1, 30)
    assert contents.n_bytes > 0
    result = delete(second)
    assert (result["dataset"], result["items"]) == ("second", 30)
    assert result["freed_bytes"] >= contents.n_bytes
    assert counts() == rows_before
    new = {name for name in store_files(file_store) - files_before if not name.startswith("broker/")}
    assert new == set()
    assert not Job.objects.filter(dataset_id=second.pk).exclude(kind=deletion.KIND).exists()
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA foreign_key_check").fetchall() == []


def test_image_files_and_pictures_of_others_stay(
    file_store: Path, make_dataset: MakeDataset, picture_folder: MakeFolder
) -> None:
    folder = picture_folder(4)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    dataset = make_dataset(4)
    frames = list(Frame.objects.order_by("pk"))
    frames[0].revision = 2
    frames[0].save()
    Frame.objects.filter(pk=frames[1].pk).update(sha256="ab" * 32)
    for frame in Frame.objects.all():
        pictures().keep(b"x" * 100, ".png", frame.picture_hash, 256)
    others = pictures().keep(b"other", ".png", "ab" * 8 + "c" * 48, 256)
    others = others.rename(others.with_name(others.name.replace("abababababababab", "abababababababac")))
    result = delete(dataset)
    assert result["freed_bytes"] >= 400
    assert [file for file in (file_store / "thumbs").rglob("*") if file.is_file()] == [others]
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_its_jobs_are_cancelled_first(both: tuple[Dataset, Dataset]) -> None:
    first, second = both
    assert Job.objects.filter(kind="embed", state=Job.State.RUNNING).count() == 2
    delete(first)
    assert not Job.objects.filter(kind="embed", dataset_id=first.pk).exists()
    assert Job.objects.get(kind="embed", dataset_id=second.pk).state == Job.State.RUNNING


@pytest.mark.usefixtures("file_store")
def test_a_job_that_does_not_end(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(3)
    job = lifecycle.enqueue("embed", dataset_id=dataset.pk)
    Job.objects.filter(pk=job.pk).update(state=Job.State.RUNNING, worker="elsewhere:1:1")
    monkeypatch.setattr(deletion, "cancel_all", lambda jobs, check: job)
    with pytest.raises(Refusal, match="has not ended"):
        delete(dataset)
    assert Item.objects.count() == 3


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_deletion_that_was_stopped_continues(
    both: tuple[Dataset, Dataset], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    first, second = both
    monkeypatch.setattr(deletion, "_BATCH", 7)
    with monkeypatch.context() as patch:
        call_after(patch, deletion, "_delete_rows", interrupt_at(at * 5, Cancelled))
        with pytest.raises(Refusal, match="was cancelled"):
            delete(first)
    assert Item.objects.filter(dataset=first).exists()
    [hidden] = Dataset.objects.exclude(deleted_at=None)
    assert list(Dataset.objects.present()) == [second]
    lifecycle.run_now(deletion.KIND, dataset_id=hidden.pk, params={"name": "first"})
    assert list(Dataset.objects.all()) == [second]
    assert (Item.objects.count(), Annotation.objects.exclude(item__dataset=second).count()) == (30, 0)
    again = lifecycle.run_now(deletion.KIND, dataset_id=hidden.pk, params={"name": "first"})
    assert again.result["items"] == 0


def test_others_may_write_at_any_moment(
    both: tuple[Dataset, Dataset], file_store: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """SQLite refuses to write in a connection that still reads from before another one wrote."""
    first, second = both
    settings.JOB_PROGRESS = 0
    monkeypatch.setattr(deletion, "_BATCH", 1)
    writes = []

    def write(*_: object) -> None:
        with closing(sqlite3.connect(file_store / "app.db", timeout=30)) as other:
            other.execute("update labeling_dataset set n_decisions = n_decisions + 1 where id = ?", [second.pk])
            other.commit()
        writes.append(1)

    call_before(monkeypatch, Run, "check", write)
    before = fresh(second).n_decisions
    delete(first)
    assert len(writes) > 30
    assert fresh(second).n_decisions == before + len(writes)
    assert list(Dataset.objects.all()) == [second]


@pytest.mark.usefixtures("file_store")
def test_undone_actions_are_deleted_before_those_that_they_undo(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "_BATCH", 1)
    dataset, other = make_dataset(3), make_dataset(3, name="other")
    for _ in range(3):
        decide(dataset, "assign", [0], "cat")
        decide(other, "assign", [0], "cat")
        decide(dataset, "undo")
    delete(dataset)
    assert Action.objects.count() == 3


# -- Space ---------------------------------------------------------------------------------------------
def many_rows(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(1)
    Item.objects.bulk_create(
        [Item(dataset=dataset, row=row, path=f"{row:0800}") for row in range(1, 4001)], batch_size=500
    )
    return dataset


def test_sqlite_returns_the_space(file_store: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "_WORTH_BYTES", 2**20)
    dataset = many_rows(make_dataset)
    connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (file_store / "app.db").stat().st_size
    result = delete(dataset)
    assert result["freed_bytes"] > 2**21
    assert result["reusable_bytes"] == 0
    assert (file_store / "app.db").stat().st_size < before / 2


def test_space_stays_for_new_data_while_others_write(
    file_store: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "_WORTH_BYTES", 2**20)
    other = make_dataset(1, name="other")
    job = lifecycle.enqueue("embed", dataset_id=other.pk)
    Job.objects.filter(pk=job.pk).update(
        state=Job.State.RUNNING, worker="elsewhere:1:1", heartbeat_at="2999-01-01T00:00Z"
    )
    result = delete(many_rows(make_dataset))
    assert result["reusable_bytes"] > 2**20


def test_small_deletions_rewrite_nothing(file_store: Path, make_dataset: MakeDataset) -> None:
    statements = []
    with connection.execute_wrapper(lambda run, sql, *rest: (statements.append(sql), run(sql, *rest))[1]):
        delete(make_dataset(5))
    assert statements
    assert "VACUUM" not in statements
