"""A backup while people label: every label that was acknowledged before it began is in it."""

import json
import sqlite3
import threading
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.factories import new_folder
from tests.label_clients import SETUP, Browser, Server
from tests.parts import wait_until
from tests.processes import Up, run_python

pytestmark = pytest.mark.slow


def test_acknowledged_labels_are_in_the_backup(tmp_path: Path) -> None:
    store = new_folder(tmp_path / "store")
    server = Server(store)
    server.manage("migrate", "-v", "0")
    label, *items = map(int, server.manage("shell", "-v", "0", "-c", SETUP).split())
    browsers = [Browser(server.port, label, items[half::2]) for half in range(2)]
    server.start()
    threads = [threading.Thread(target=browser.label_all) for browser in browsers]
    for thread in threads:
        thread.start()
    saved = []
    try:
        for number in range(3):
            n_before = sum(len(browser.acknowledged) for browser in browsers)
            wait_until(lambda n=n_before: sum(len(browser.acknowledged) for browser in browsers) > n + 20, why="labels")
            acknowledged = set().union(*(browser.acknowledged.values() for browser in browsers))
            path = tmp_path / f"{number}.zip"
            result = json.loads(server.manage("backup", str(path), "--json"))
            saved.append((acknowledged, path, result))
    finally:
        for browser in browsers:
            browser.stopped.set()
        for thread in threads:
            thread.join()
        server.kill()
    assert [browser.errors for browser in browsers] == [[], []]
    for acknowledged, path, result in saved:
        with zipfile.ZipFile(path) as archive:
            archive.extract("database.sqlite3", tmp_path / path.stem)
        with closing(sqlite3.connect(tmp_path / path.stem / "database.sqlite3")) as database:
            assert database.execute("pragma integrity_check").fetchone() == ("ok",)
            found = {pk for (pk,) in database.execute("select id from labeling_annotation")}
        assert acknowledged
        assert acknowledged <= found
        assert result["decisions"] == len(found)

    other = new_folder(tmp_path / "other")
    restored = json.loads(run_python("manage.py", "restore", str(saved[-1][1]), "--json", store=other).stdout)
    assert restored["decisions"] == saved[-1][2]["decisions"]


def test_a_running_up_is_saved_and_not_overwritten(up: type[Up], picture_folder: object, tmp_path: Path) -> None:
    folder = picture_folder(6)  # type: ignore[operator]
    running = up(str(folder))
    running.wait_until_well()
    path = tmp_path / "a.zip"
    wait_until(lambda: running.query("select count(*) from labeling_item") == [(6,)], why="the images")
    run_python("manage.py", "backup", str(path), store=running.store)
    refused = run_python("manage.py", "restore", str(path), "--force", store=running.store, code=1)
    assert "A server runs on the store" in refused.stderr
    assert running.query("select count(*) from labeling_item") == [(6,)]
    # Into another store, whose server computes embeddings again.
    run_python("manage.py", "restore", str(path), store=new_folder(tmp_path / "next") / "store")
    again = Up(tmp_path / "next" / "store")
    try:
        again.wait_until_well()
        wait_until(
            lambda: again.query("select n_vectors from modeling_embeddingset where is_active") == [(6,)],
            why="the embeddings",
        )
    finally:
        again.end()
