"""Write a backup while the server runs."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection
from django.utils import timezone

from hoshina.backup import postgresql, sqlite
from hoshina.backup.archive import FORMAT, Manifest, Writer, writing_archive
from hoshina.backup.contents import Query, freeze, missing_files
from hoshina.core import schema
from hoshina.core.errors import Refusal
from hoshina.core.storage import require_space

_ATTEMPTS = 3
_PAUSE = 1.0
_COUNTS = {"datasets": "labeling_dataset", "items": "labeling_item", "decisions": "labeling_annotation"}
_DATED = re.compile(r"hoshina-\d{8}-\d{6}\.zip")


@dataclass
class _Draft:
    """Collect the facts about a backup while it is written."""

    frozen: list[Path] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class _Changed(Exception):
    """Signal that a file to which the copied database refers was replaced before it was linked."""


def create(target: Path, *, labels_only: bool = False, overwrite: bool = False) -> dict[str, Any]:
    """Write a backup to ``target`` and return a description of it.

    Raises Refusal if ``target`` exists, unless ``overwrite``, if the disk is too full, or the database is damaged.
    """
    if target.is_dir():
        raise Refusal(f"{target} is a folder.", "Name a file in it, or how many backups to keep there with --keep.")
    if target.exists() and not overwrite:
        raise Refusal(f"{target} exists.", "Choose another name, or overwrite it with --force.")
    target.parent.mkdir(parents=True, exist_ok=True)
    if connection.vendor == "sqlite" and sqlite.database_file().exists():
        require_space(target.parent, 2 * sqlite.database_file().stat().st_size)
    attempt = 1
    while True:
        try:
            return _create(target, labels_only=labels_only, may_miss=attempt == _ATTEMPTS)
        except _Changed:
            attempt += 1
            time.sleep(_PAUSE)


def _create(target: Path, *, labels_only: bool, may_miss: bool) -> dict[str, Any]:
    draft = _Draft()
    links = Path(tempfile.mkdtemp(prefix="backup-", suffix=".tmp", dir=settings.STORE_DIR))
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))

    def note(query: Query) -> None:
        draft.counts = {name: int(query(f"SELECT count(*) FROM {table}")[0][0]) for name, table in _COUNTS.items()}  # noqa: S608 - fixed
        if labels_only:
            return
        draft.frozen = freeze(links)
        draft.missing = missing_files(query, draft.frozen)
        if draft.missing and not may_miss:
            raise _Changed

    try:
        with writing_archive(target) as writer:
            tables = _database().dump(writer, folder, note, labels_only=labels_only)
            for file in draft.frozen:
                writer.add_file(f"store/{file.as_posix()}", links / file)
            manifest = _manifest(writer, draft, tables, labels_only=labels_only)
            writer.finish(manifest)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(links, ignore_errors=True)
    result = {"path": str(target), "bytes": target.stat().st_size, **summary(manifest)}
    return result | ({"missing": draft.missing} if draft.missing else {})


def _database() -> Any:
    return postgresql if connection.vendor == "postgresql" else sqlite


def _manifest(writer: Writer, draft: _Draft, tables: dict[str, list[str]], *, labels_only: bool) -> Manifest:
    return Manifest(
        format=FORMAT,
        version=metadata.version("hoshina"),
        created_at=timezone.now().isoformat(timespec="seconds"),
        kind="labels" if labels_only else "full",
        database=connection.vendor,
        schema=sorted(schema.applied()),
        counts=draft.counts,
        members=writer.members,
        tables=tables,
    )


def summary(manifest: Manifest) -> dict[str, Any]:
    """Return what ``--json`` prints about an archive."""
    facts: dict[str, Any] = msgspec.to_builtins(manifest)
    names = ("created_at", "version", "kind", "database")
    return {name: facts[name] for name in names} | manifest.counts | {"files": len(manifest.members)}


# -- Several backups in a folder --------------------------------------------------------------------
def create_dated(folder: Path, *, labels_only: bool = False, keep: int) -> dict[str, Any]:
    """Write a backup named after the time into a folder, then delete all but the ``keep`` newest ones there."""
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder} is a file.", "--keep needs a folder.")
    target = folder / f"hoshina-{timezone.now():%Y%m%d-%H%M%S}.zip"
    result = create(target, labels_only=labels_only)
    older = dated(folder)[:-keep]
    for file in older:
        file.unlink(missing_ok=True)
    return result | {"deleted": [str(file) for file in older]}


def dated(folder: Path) -> list[Path]:
    """Return the backups of :func:`create_dated` in a folder, oldest first."""
    return sorted(file for file in folder.iterdir() if _DATED.fullmatch(file.name))
