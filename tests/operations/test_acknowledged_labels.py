"""kill -9 while labels are posted: whatever was acknowledged is in the database, once.

``HOSHINA_KILLS=250`` kills so often in each test.
"""

import os
import random
import re
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.factories import new_folder
from tests.label_clients import SETUP, Browser, Server
from tests.parts import postgres_server, require, wait_until

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("HOSHINA_KILLS", "17"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def server(request: Any, tmp_path: Path) -> Iterator[Server]:
    """Provide a web server with tables, not started, on SQLite and on PostgreSQL."""
    store = new_folder(tmp_path / "store")
    with ExitStack() as stack:
        variables = {}
        if request.param == "postgresql":
            require("postgres")
            variables = {"AL_DATABASE_URL": stack.enter_context(postgres_server())}
        made = Server(store, **variables)
        made.manage("migrate", "-v", "0")
        yield made
        made.kill()


def rows_of(server: Server, sql: str) -> list[Any]:
    if url := server.variables.get("AL_DATABASE_URL"):
        import psycopg

        with psycopg.connect(url) as connection:
            return connection.execute(sql).fetchall()
    connection = sqlite3.connect(server.store / "app.db", timeout=30)
    try:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def label_and_kill(server: Server, kill_and_start: Any, n_kills: int) -> None:
    """Label with two browsers while the server is killed again and again, and compare what was acknowledged."""
    rng = random.Random(11)
    label, *items = map(int, server.manage("shell", "-v", "0", "-c", SETUP).split())
    server.start()
    browsers = [Browser(server.port, label, items[half::2]) for half in range(2)]
    threads = [threading.Thread(target=browser.label_all) for browser in browsers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(n_kills):
            before = sum(len(browser.acknowledged) for browser in browsers)
            wait_until(
                lambda n=before: sum(len(browser.acknowledged) for browser in browsers) > n,
                why=f"another label ({[browser.errors[-1:] for browser in browsers]})",
            )
            time.sleep(rng.uniform(0, 0.5))
            kill_and_start()
    finally:
        for browser in browsers:
            browser.stopped.set()
        for thread in threads:
            thread.join()
    assert [browser.errors for browser in browsers] == [[], []]
    acknowledged = {name: row for browser in browsers for name, row in browser.acknowledged.items()}
    assert len(acknowledged) >= n_kills
    rows = rows_of(
        server, "select x.uuid, a.id from labeling_annotation a join labeling_action x on a.action_id = x.id"
    )
    saved = {str(uuid.UUID(str(name))): row for name, row in rows}
    assert len(saved) == len(rows)  # once each
    lost = {name: row for name, row in acknowledged.items() if saved.get(name) != row}
    assert lost == {}


def test_the_web_server_is_killed(server: Server) -> None:
    def kill_and_start() -> None:
        server.kill()
        server.start()

    label_and_kill(server, kill_and_start, KILLS)
    assert re.search("Traceback", (server.store / "web.log").read_text()) is None


def test_the_whole_tree_is_killed(server: Server) -> None:
    """As a power failure does it: `up`, the web server and both workers at once."""
    if "AL_DATABASE_URL" in server.variables:
        server.variables["AL_BROKER_URL"] = ""
    server.program = ("up", "--no-browser")

    def kill_and_start() -> None:
        assert server.process is not None
        tree = psutil.Process(server.process.pid).children(recursive=True)
        for process in tree:
            process.suspend()  # so that none of them notices the death of another
        for process in [psutil.Process(server.process.pid), *tree]:
            process.kill()
        server.process.wait()
        psutil.wait_procs(tree, timeout=30)
        server.start()

    try:
        label_and_kill(server, kill_and_start, max(3, KILLS // 5))
    finally:
        assert server.process is not None
        server.process.terminate()
        server.process.wait(timeout=60)
