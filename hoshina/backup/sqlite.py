"""Copy the SQLite database out and in."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from django.db import connection, connections

from hoshina.backup.archive import Archive, Writer
from hoshina.backup.contents import Query, omitted_tables
from hoshina.core.errors import Refusal
from hoshina.core.sqlite_copy import copy_database

MEMBER = "database.sqlite3"
Tables = dict[str, list[str]]


def dump(writer: Writer, folder: Path, freeze: Callable[[Query], None], *, labels_only: bool) -> Tables:
    """Add a copy of the database without the omitted rows. ``freeze`` is called right after the copy was made."""
    file = folder / MEMBER
    copy_database(file)
    # Without implicit transactions, in which VACUUM is refused.
    with closing(sqlite3.connect(file, isolation_level=None)) as copy:
        freeze(lambda sql: copy.execute(sql).fetchall())
        for table in omitted_tables(labels_only=labels_only):
            copy.execute(f"DELETE FROM {connection.ops.quote_name(table)}")  # noqa: S608 - tables of our models
        copy.execute("VACUUM")  # deleted rows would stay readable in the file
        problems = [row for (row,) in copy.execute("PRAGMA integrity_check")]
        if problems != ["ok"] or copy.execute("PRAGMA foreign_key_check").fetchone():
            raise Refusal(
                f"The database is damaged: {problems[0]}.", "Restore an earlier backup, or copy app.db and repair it."
            )
    writer.add_file(MEMBER, file)
    return {}


def database_file() -> Path:
    """Return the path of the database."""
    return Path(str(connection.settings_dict["NAME"]))


def has_datasets() -> bool:
    """Return whether the present database holds a dataset. An unreadable database counts as one with datasets."""
    if not database_file().exists():
        return False
    with closing(sqlite3.connect(database_file(), timeout=30)) as database:
        try:
            return database.execute("SELECT 1 FROM labeling_dataset LIMIT 1").fetchone() is not None
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return False
            raise
        except sqlite3.DatabaseError:
            return True


def set_aside(aside: Path) -> None:
    """Move the present database to the folder ``aside``."""
    connections.close_all()
    file = database_file()
    for present in (file.with_name(f"{file.name}{suffix}") for suffix in ("-wal", "-shm", "")):
        if present.exists():
            aside.mkdir(parents=True, exist_ok=True)
            shutil.move(present, aside / present.name)


def load(archive: Archive, folder: Path) -> None:
    """Put the archived database in place; ``folder`` holds the extracted members."""
    connections.close_all()
    shutil.move(folder / MEMBER, database_file())
