"""Backups of a PostgreSQL database, from one server to another."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.factories import new_folder
from tests.parts import postgres_server
from tests.processes import run_python

pytestmark = pytest.mark.postgres

FILL = """if True:
    from django.contrib.sessions.backends.db import SessionStore
    from django.utils import timezone
    from labeling.decisions.save import Decision, record_import
    from labeling.models import Dataset, Field, Frame, Item, LabelClass, State
    from sampling.models import Round
    dataset = Dataset.objects.create(name="a \\\\ b\\tc", slug="a", root="/nowhere", n_items=500)
    Item.objects.bulk_create([Item(dataset=dataset, row=row, path=f"é\\\\{row}.png") for row in range(500)])
    label = LabelClass.objects.create(dataset=dataset, name="cat", colour="#E69F00", key=1, order=0)
    ids = list(Item.objects.order_by("row").values_list("pk", flat=True)[:200])
    record_import(dataset, [Decision(pk, State.LABELLED, label.pk) for pk in ids], None)
    Round.objects.create(dataset=dataset, queue="random", seed=1, rows=bytes(range(256)))
    field = Field.objects.create(dataset=dataset, name="redshift", kind="number", source="csv")
    Dataset.objects.update(together_by=field)
    session = SessionStore()
    session["a"] = 1
    session.save()
"""


class Store:
    """A store whose database is on a server."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = new_folder(folder)
        self.url = url

    def manage(self, *arguments: str, code: int = 0) -> Any:
        return run_python("manage.py", *arguments, store=self.folder, code=code, AL_DATABASE_URL=self.url)

    def rows(self, table: str) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    with ExitStack() as stack:
        urls = [stack.enter_context(postgres_server()) for _ in range(2)]
        yield Store(tmp_path / "first", urls[0]), Store(tmp_path / "second", urls[1])


TABLES = ("labeling_dataset", "labeling_item", "labeling_labelclass", "labeling_annotation", "labeling_action")


def test_from_one_server_to_another(two: tuple[Store, Store], tmp_path: Path) -> None:
    first, second = two
    path = str(tmp_path / "a.zip")
    assert "Run hoshina migrate." in first.manage("backup", path, code=1).stderr
    first.manage("migrate", "-v", "0")
    first.manage("shell", "-v", "0", "-c", FILL)
    result = json.loads(first.manage("backup", path, "--json").stdout)
    assert (result["database"], result["items"], result["decisions"]) == ("postgresql", 500, 200)

    # Into a database without tables.
    second.manage("restore", path)
    for table in (*TABLES, "sampling_round", "auth_group_permissions", "django_content_type"):
        assert second.rows(table) == first.rows(table), table
        assert first.rows(table)
    assert second.rows("django_session") == []
    # New rows get new ids.
    second.manage(
        "shell", "-v", "0", "-c",
        "from labeling.models import Dataset; print(Dataset.objects.create(name='n', slug='n', root='/').pk)",
    )  # fmt: skip

    # In place of what is there, which is saved.
    assert "holds datasets" in second.manage("restore", path, code=1).stderr
    moved_to = json.loads(second.manage("restore", path, "--force", "--json").stdout)["moved_to"]
    assert len(second.rows("labeling_dataset")) == 1
    second.manage("restore", f"{moved_to}/backup.zip", "--force")
    assert len(second.rows("labeling_dataset")) == 2

    labels = str(tmp_path / "labels.zip")
    first.manage("backup", labels, "--labels-only")
    second.manage("restore", labels, "--force")
    for table in TABLES[1:]:
        assert second.rows(table) == first.rows(table), table
    assert second.rows("labeling_field") == second.rows("sampling_round") == []


def test_a_backup_of_an_older_schema_and_one_that_fails(two: tuple[Store, Store], tmp_path: Path) -> None:
    first, second = two
    for app, name in (("sampling", "0005"), ("modeling", "0008"), ("labeling", "0013")):
        first.manage("migrate", app, name, "-v", "0")
    with psycopg.connect(first.url) as connection:
        connection.execute(
            "INSERT INTO labeling_dataset (name, slug, root, created_at, rendering, grouping, roles, composition, "
            "is_watched, last_look, n_items, n_missing, n_labelled, n_unsure, n_skipped, n_decisions) VALUES "
            "('old', 'old', '/nowhere', now(), '{}', '', '[]', '{}', false, '', 0, 0, 0, 0, 0, 0)"
        )
    code = "from pathlib import Path; from hoshina.backup.create import create; create(Path({!r}))"
    first.manage("shell", "-v", "0", "-c", code.format(str(tmp_path / "old.zip")))
    second.manage("restore", str(tmp_path / "old.zip"))
    assert [row[1] for row in second.rows("labeling_dataset")] == ["old"]
    assert second.manage("queue", "random", "--json").stdout

    # SQLite does not read it.
    done = run_python("manage.py", "restore", str(tmp_path / "old.zip"), store=tmp_path / "sqlite", code=1)
    assert "The backup is of a postgresql database" in done.stderr


def test_a_dataset_is_deleted(two: tuple[Store, Store]) -> None:
    store, _ = two
    store.manage("migrate", "-v", "0")
    store.manage("shell", "-v", "0", "-c", FILL)
    result = json.loads(store.manage("dataset", "a", "--delete", "--yes", "--json").stdout)
    assert (result["items"], result["reusable_bytes"]) == (500, 0)
    for table in (*TABLES, "labeling_field", "sampling_round"):
        assert store.rows(table) == [], table
