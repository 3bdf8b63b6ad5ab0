"""Test that a record of an SQLite store has the same bytes after an import into PostgreSQL."""

import zipfile
from pathlib import Path

import pytest

from tests.factories import new_folder
from tests.parts import postgres_server
from tests.processes import run_python

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

# The same images in an empty store; then what `import_labels --history` and `export` do.
IMPORT_AND_EXPORT = """if True:
    import pathlib
    from django.core.management import call_command
    from django.db import connection
    from labeling.exporting import Export, Options
    from labeling.history.restore import restore
    from labeling.models import Dataset, Frame, Item
    assert connection.vendor == "postgresql"
    call_command("migrate", verbosity=0)
    dataset = Dataset.objects.create(name="pictures", slug="pictures", root="/nowhere", n_items=40)
    for row in range(40):
        item = Item.objects.create(dataset=dataset, row=row, path=f"image{{row:04d}}.png")
        Frame.objects.create(item=item, dataset=dataset, path=item.path, sha256=f"{{row:064x}}", size=100,
                             mtime_ns=1, width=24, height=24, format="PNG")
    restore(dataset, pathlib.Path({source!r}))
    dataset.refresh_from_db()
    with open({target!r}, "wb") as stream:
        stream.writelines(Export(dataset, Options(extras=frozenset({{"annotations", "rounds"}}))))
"""


def test_a_record_of_sqlite_is_the_same_after_postgresql(exported: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.zip"
    code = IMPORT_AND_EXPORT.format(source=str(exported), target=str(target))
    with postgres_server() as url:
        store = new_folder(tmp_path / "store")
        run_python("manage.py", "shell", "-v", "0", "-c", code, store=store, AL_DATABASE_URL=url)
    with zipfile.ZipFile(exported) as first, zipfile.ZipFile(target) as again:
        assert first.namelist() == again.namelist()
        # The manifest and the card also describe the files of models, which a record does not have.
        for name in set(first.namelist()) - {"manifest.json", "data_card.md"}:
            assert first.read(name) == again.read(name), name
