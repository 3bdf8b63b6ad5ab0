"""Stores with a database file, as people have them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests.databases import database_file


@pytest.fixture
def file_store(store: Path, migrated: Path, django_db_blocker: Any) -> Iterator[Path]:
    """Provide an empty store whose database is a file in it."""
    shutil.copy(migrated, store / "app.db")
    with django_db_blocker.unblock(), database_file(store / "app.db"):
        yield store


@pytest.fixture(scope="session")
def _first_database(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Path:
    """Make a database with the tables of the first version, and one dataset."""
    file = tmp_path_factory.mktemp("first") / "app.db"
    with django_db_blocker.unblock(), database_file(file):
        executor = MigrationExecutor(connection)
        executor.migrate([(app, "0001_initial") for app in ("labeling", "modeling", "sampling", "jobs")])
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO labeling_dataset (name, slug, root, created_at, n_items, n_missing, n_labelled, n_unsure, "
                "n_skipped, n_decisions) VALUES ('old', 'old', '/nowhere', '2026-01-01', 0, 0, 0, 0, 0, 0)"
            )
    return file


@pytest.fixture
def first_store(_first_database: Path, tmp_path: Path) -> Path:
    """Provide a copy of a database of the first version."""
    return Path(shutil.copy(_first_database, tmp_path / "first.db"))
