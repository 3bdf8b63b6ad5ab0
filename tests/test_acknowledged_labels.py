"""kill -9 of the web server while labels are posted: whatever was acknowledged is in the database."""

import random
import re
import sqlite3
import threading
import time
import uuid
from pathlib import Path

import pytest

from tests.factories import new_folder
from tests.label_clients import SETUP, Browser, Server
from tests.parts import wait_until

pytestmark = pytest.mark.slow

KILLS = 20


def test_no_acknowledged_label_is_lost(tmp_path: Path) -> None:
    rng = random.Random(11)
    store = new_folder(tmp_path / "store")
    server = Server(store)
    server.manage("migrate", "-v", "0")
    label, *items = map(int, server.manage("shell", "-v", "0", "-c", SETUP).split())
    browsers = [Browser(server.port, label, items[half::2]) for half in range(2)]
    server.start()
    threads = [threading.Thread(target=browser.label_all) for browser in browsers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            before = sum(len(browser.acknowledged) for browser in browsers)
            wait_until(
                lambda n=before: sum(len(browser.acknowledged) for browser in browsers) > n,
                why=f"another label ({[browser.errors[-1:] for browser in browsers]})",
            )
            time.sleep(rng.uniform(0, 0.5))
            server.kill()
            server.start()
    finally:
        for browser in browsers:
            browser.stopped.set()
        for thread in threads:
            thread.join()
        server.kill()
    assert [browser.errors for browser in browsers] == [[], []]
    acknowledged = {name: row for browser in browsers for name, row in browser.acknowledged.items()}
    assert len(acknowledged) >= KILLS
    database = sqlite3.connect(store / "app.db")
    try:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        rows = database.execute(
            "select x.uuid, a.id from labeling_annotation a join labeling_action x on a.action_id = x.id"
        ).fetchall()
    finally:
        database.close()
    saved = {str(uuid.UUID(name)): row for name, row in rows}
    assert len(saved) == len(rows)  # once each
    lost = {name: row for name, row in acknowledged.items() if saved.get(name) != row}
    assert lost == {}
    assert re.search("Traceback", (store / "web.log").read_text()) is None
