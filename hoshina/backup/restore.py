"""Restore a backup into an empty store, or in place of the present one, which is moved aside."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone
from filelock import FileLock, Timeout

from hoshina.backup import postgresql, sqlite
from hoshina.backup.archive import Archive, Manifest, opened
from hoshina.backup.contents import FOLDERS
from hoshina.backup.create import create, summary
from hoshina.core.errors import Refusal
from hoshina.core.storage import require_space
from hoshina.jobs import presence, registry
from hoshina.jobs.lifecycle import LOST_HINT, enqueue
from hoshina.jobs.models import Job, Worker
from labeling.ingest.dataset_folder import UPLOADS
from labeling.models import Dataset, Field
from modeling.models import EmbeddingSet, Projection

_RUNS = "Stop the server and its workers first."


def check(path: Path) -> dict[str, Any]:
    """Verify every file of a backup and return a description of it. Raises Refusal if it is damaged or newer."""
    with opened(path) as archive:
        archive.verify()
        return {"path": str(path), "bytes": path.stat().st_size, **summary(archive.manifest)}


def restore(path: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Restore a backup and return a description of it.

    With ``overwrite``, a present store is moved aside to a dated folder. Raises Refusal if the store holds datasets
    otherwise, a server runs on it, or the archive is damaged, newer, or of the other kind of database; then nothing
    has changed.
    """
    with opened(path) as archive, _hold_store():
        _refuse_other_database(archive.manifest)
        database = postgresql if connection.vendor == "postgresql" else sqlite
        has_datasets = database.has_datasets()
        if has_datasets and not overwrite:
            raise Refusal(
                f"The store {settings.STORE_DIR} holds datasets.",
                "Restore into another store (AL_STORE_DIR), or move this one aside with --force.",
            )
        _refuse_running()
        folder = _extract(archive)
        aside = settings.STORE_DIR / f"before-restore-{timezone.now():%Y%m%d-%H%M%S}"
        try:
            _set_database_aside(aside, has_datasets=has_datasets)
            database.load(archive, folder)
            _put_files_in_place(folder / "store", aside, archive.manifest.kind)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        manifest = archive.manifest
    call_command("migrate", verbosity=0, interactive=False)
    with transaction.atomic():
        _forget_what_is_missing(manifest)
    absent = _read_folders()
    return {
        "path": str(path),
        **summary(manifest),
        "moved_to": str(aside) if aside.exists() else None,
        "no_folder": absent,
    }


# -- Refusals -------------------------------------------------------------------------------------
@contextmanager
def _hold_store() -> Iterator[None]:
    """Hold the lock of ``up``. Raises Refusal if it is held."""
    settings.STORE_DIR.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.STORE_DIR / "up.lock", timeout=0):
            yield
    except Timeout as error:
        raise Refusal(f"A server runs on the store {settings.STORE_DIR}.", _RUNS) from error


def _refuse_other_database(manifest: Manifest) -> None:
    if manifest.database != connection.vendor:
        setting = "Set AL_DATABASE_URL" if manifest.database == "postgresql" else "Unset AL_DATABASE_URL"
        raise Refusal(f"The backup is of a {manifest.database} database, but this is {connection.vendor}.", setting)


def _refuse_running() -> None:
    """Raise Refusal if workers are alive that were started without ``up``."""
    if connection.vendor == "sqlite" and not sqlite.database_file().exists():
        return  # looking would create it
    if Worker._meta.db_table in connection.introspection.table_names() and any(
        presence.alive(queue) for queue in registry.QUEUES
    ):
        raise Refusal("Workers run on this store.", _RUNS)


# -- Files ----------------------------------------------------------------------------------------
def _extract(archive: Archive) -> Path:
    """Write the members to a new folder of the store. The tables of PostgreSQL are only verified."""
    require_space(settings.STORE_DIR, archive.size)
    folder = Path(tempfile.mkdtemp(prefix="restore-", suffix=".tmp", dir=settings.STORE_DIR))
    try:
        for name in archive.manifest.members:
            top, _, rest = name.partition("/")
            if name == sqlite.MEMBER or (top == "store" and rest.partition("/")[0] in FOLDERS):
                archive.extract(name, folder / name)
            else:
                for _ in archive.read(name):
                    pass
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _set_database_aside(aside: Path, *, has_datasets: bool) -> None:
    """Move the present database to a folder. Tables of a server stay and are saved there as a backup."""
    if connection.vendor == "sqlite":
        sqlite.set_aside(aside)
    elif has_datasets:
        create(aside / "backup.zip")


def _put_files_in_place(folder: Path, aside: Path, kind: str) -> None:
    """Move the files of the archive into the store, and those of the previous database aside.

    Uploaded images stay if the archive has only labels, which may be those of these images.
    """
    for name in FOLDERS:
        if name == UPLOADS and kind == "labels":
            continue
        present = settings.STORE_DIR / name
        if present.exists():
            aside.mkdir(parents=True, exist_ok=True)
            shutil.move(present, aside / name)
        if (folder / name).exists():
            shutil.move(folder / name, present)


# -- Rows -----------------------------------------------------------------------------------------
def _forget_what_is_missing(manifest: Manifest) -> None:
    """Correct the rows whose files or workers are not there."""
    Job.objects.filter(state__in=Job.ACTIVE).update(
        state=Job.State.LOST, finished_at=timezone.now(), error="The store was restored from a backup.", hint=LOST_HINT
    )
    # Embeddings are computed again; maps then place the images that came later.
    EmbeddingSet.objects.update(generation=0, n_vectors=0)
    Projection.objects.update(vectors_generation=0)
    if manifest.kind == "labels":
        Field.objects.all().delete()


def _read_folders() -> list[str]:
    """Queue an ingest of every dataset in use, which computes embeddings; return the folders that do not exist."""
    absent = []
    for dataset in Dataset.objects.filter(archived_at=None):
        if dataset.data_dir.is_dir():
            enqueue("ingest", dataset_id=dataset.pk)
        else:
            absent.append(str(dataset.data_dir))
    return absent
