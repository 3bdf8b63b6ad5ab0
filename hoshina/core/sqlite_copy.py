"""Copy the SQLite database while it is in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from django.db import connection


def copy_database(target: Path) -> None:
    """Write a copy of the database as of now to a new file. Labels can be saved meanwhile. Raises sqlite3.Error."""
    connection.ensure_connection()
    with closing(sqlite3.connect(target)) as copy:
        # In one step: between steps, a write by another process would start the copy again.
        connection.connection.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode=DELETE")  # so that the copy is one file
