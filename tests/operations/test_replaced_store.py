"""A store that is deleted or replaced under a running server: no label is acknowledged that nobody will ever read."""

import shutil
from pathlib import Path

import pytest

from tests.factories import new_folder
from tests.label_clients import SETUP, Browser, Server

pytestmark = pytest.mark.slow


def move_away(store: Path) -> None:
    store.rename(store.with_name("elsewhere"))


def delete(store: Path) -> None:
    shutil.rmtree(store)


def replace_by_a_copy(store: Path) -> None:
    copy = store / "copy.db"
    shutil.copy(store / "app.db", copy)
    copy.replace(store / "app.db")


@pytest.mark.parametrize("harm", [move_away, delete, replace_by_a_copy])
def test_labels_are_refused_from_then_on(tmp_path: Path, harm: object) -> None:
    store = new_folder(tmp_path / "store")
    server = Server(store)
    server.manage("migrate", "-v", "0")
    label, *items = map(int, server.manage("shell", "-v", "0", "-c", SETUP).split())
    server.start()
    try:
        browser = Browser(server.port, label, items)
        assert browser.send(browser.action(0))
        assert server.healthz()[0] == 200
        harm(store)  # type: ignore[operator]
        for number in range(1, 20):
            assert not browser.send(browser.action(number))
        assert all(error.startswith("503") and "Labels stay in the browser" in error for error in browser.errors)
        assert len(browser.errors) == 19
        status, content = server.healthz()
        assert (status, content["database"], content["labels"]) == (503, False, False)
    finally:
        server.kill()
