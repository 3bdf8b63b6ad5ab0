"""Older stores are migrated, with a copy of the database from before; newer ones are refused by every command."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from hoshina.core import schema
from hoshina.core.commands import prepare_database
from hoshina.core.errors import Refusal
from labeling.models import Dataset
from tests.databases import database_file
from tests.factories import new_folder
from tests.processes import run_python


def make_newer(database: Path) -> None:
    with closing(sqlite3.connect(database)) as opened:
        opened.execute(
            "insert into django_migrations (app, name, applied) values ('labeling', '9999_later', '2030-01-01')"
        )
        opened.commit()


@pytest.mark.usefixtures("file_store")
def test_the_first_version_of_a_store_is_migrated(first_store: Path) -> None:
    with database_file(first_store):
        assert schema.state() == "old"
        prepare_database()
        assert schema.state() == "current"
        assert Dataset.objects.get().name == "old"
        prepare_database()
    [copy] = first_store.parent.glob("first.db.before-*")
    with closing(sqlite3.connect(copy)) as before:
        assert before.execute("select name from labeling_dataset").fetchall() == [("old",)]
        names = before.execute("select name from django_migrations where app = 'labeling'").fetchall()
    assert names == [("0001_initial",)]


@pytest.mark.usefixtures("file_store")
def test_the_two_newest_copies_are_kept(first_store: Path) -> None:
    for number in range(4):
        copy = first_store.with_name(f"first.db.before-labeling.000{number}")
        copy.write_bytes(b"")
    with database_file(first_store):
        prepare_database()
    assert len(list(first_store.parent.glob("first.db.before-*"))) == 2
    assert [file for file in first_store.parent.glob("first.db.before-*") if file.stat().st_size] != []


def test_a_new_store_needs_no_copy(file_store: Path, tmp_path: Path) -> None:
    with database_file(tmp_path / "new.db"):
        prepare_database()
        assert schema.state() == "current"
    assert not list(tmp_path.glob("new.db.before-*"))


def test_a_newer_store_is_refused(file_store: Path) -> None:
    make_newer(file_store / "app.db")
    connections.close_all()
    assert schema.state() == "new"
    with pytest.raises(Refusal, match=r"newer version of HOSHINA has used this store .*9999_later"):
        prepare_database()


def test_migrations_of_other_packages_do_not_make_a_store_newer(file_store: Path) -> None:
    MigrationRecorder.Migration.objects.create(app="axes", name="9999_later")
    MigrationRecorder.Migration.objects.create(app="gone", name="0001_initial")
    prepare_database()
    assert schema.state() == "current"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["serve", "--port", "1"], ["worker", "heavy"], ["up", "."], ["queue", "random"], ["backup", "b.zip"]]
)  # fmt: skip
def test_every_command_refuses_a_newer_store_in_a_line(tmp_path: Path, migrated: Path, command: list[str]) -> None:
    store = new_folder(tmp_path / "store")
    shutil.copy(migrated, store / "app.db")
    make_newer(store / "app.db")
    content = (store / "app.db").read_bytes()
    done = run_python("manage.py", *command, store=store, code=1)
    [line] = [line for line in done.stderr.splitlines() if "newer" in line]
    assert line.startswith("A newer version of HOSHINA has used this store")
    assert line.endswith("Update HOSHINA, or restore a backup that this version made.")
    assert "Traceback" not in done.stderr
    assert (store / "app.db").read_bytes() == content


@pytest.mark.slow
def test_the_refusal_as_json(tmp_path: Path, migrated: Path) -> None:
    store = new_folder(tmp_path / "store")
    shutil.copy(migrated, store / "app.db")
    make_newer(store / "app.db")
    found: dict[str, Any] = json.loads(run_python("manage.py", "queue", "random", "--json", store=store, code=1).stdout)
    assert found["hint"] == "Update HOSHINA, or restore a backup that this version made."
