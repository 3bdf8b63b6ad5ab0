"""Processes of the product that tests start."""

import os
import re
import sqlite3
import subprocess
import sys
import threading
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil

from hoshina import health
from hoshina.core.processes import describe, lives
from tests.parts import ROOT, wait_until


def environment(store: Path | None = None, **variables: str) -> dict[str, str]:
    """Return the variables of this process without the settings of HOSHINA but for a store, and those given."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AL_")}
    return {**plain, "AL_STORE_DIR": str(store or os.environ["AL_STORE_DIR"]), "AL_TOKEN": "0", **variables}


def run_python(
    *arguments: str | Path, store: Path | None = None, code: int | None = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with the product's settings until it ends, with this exit code unless any is right."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=environment(store, **{"DJANGO_SETTINGS_MODULE": "hoshina.settings"} | variables),
    )  # fmt: skip
    assert code in (None, done.returncode), done.stdout + done.stderr
    return done


class Up:
    """A running ``up`` whose lines are collected. It runs in the folder of its store, which it names relative to it."""

    def __init__(self, store: Path, *arguments: str, backend: str = "hog", **variables: str) -> None:
        self.store = store
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "manage.py", "up", "--no-browser", *arguments], cwd=store.parent,
            env=environment(Path(store.name), AL_EMBEDDING_BACKEND=backend, PYTHONUNBUFFERED="1", **variables),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.output = ""
        self.tree: set[str] = set()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until a line of the output matches."""

        def arrived() -> bool:
            assert self.process.poll() is None or re.search(pattern, self.output), self.output
            return re.search(pattern, self.output) is not None

        wait_until(arrived, why=f"{pattern!r} from up")
        found = re.search(pattern, self.output)
        assert found
        return found

    @property
    def port(self) -> int:
        return int(self.wait_for(r"HOSHINA is at http://127\.0\.0\.1:(\d+)/")[1])

    def healthz(self) -> dict[str, Any]:
        try:
            return health.ask("127.0.0.1", self.port)[1]
        except (OSError, HTTPException):
            return {}

    def wait_until_well(self) -> None:
        wait_until(lambda: self.healthz().get("workers") == {"interactive": True, "heavy": True}, why="the workers")
        self.tree |= {describe(child.pid) for child in psutil.Process(self.process.pid).children(recursive=True)}

    def child(self, *words: str) -> psutil.Process:
        """Return the child with these words on its command line."""
        [found] = [
            child
            for child in psutil.Process(self.process.pid).children()
            if child.status() != psutil.STATUS_ZOMBIE and " ".join(words) in " ".join(child.cmdline())
        ]
        return found

    def query(self, sql: str) -> list[Any]:
        with sqlite3.connect(self.store / "app.db", timeout=30) as database:
            rows = database.execute(sql).fetchall()
        database.close()
        return rows

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        for description in self.tree:
            if lives(description):
                psutil.Process(int(description.split(":")[0])).kill()
