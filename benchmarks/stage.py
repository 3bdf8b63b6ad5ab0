"""Fill a store with a dataset of any size (without image files), and run a real web server on it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
CLASSES = 10
# Also no content, and htmx's end of polling.
ANSWERS = (200, 204, 286)

FILL = """
import sys, numpy as np
from django.db import connection, transaction
from labeling.models import Dataset, LabelClass
from modeling.models import ModelVersion
from modeling.versions import model_files
n = int(sys.argv[1])
dataset = Dataset.objects.create(name="stage", slug="stage", root="/nowhere", n_items=n)
labels = [LabelClass.objects.create(dataset=dataset, name=f"class {i}", colour="#0072B2", order=i,
          key=i + 1 if i < 9 else None) for i in range(10)]
with transaction.atomic(), connection.cursor() as cursor:
    cursor.executemany(
        "INSERT INTO labeling_item (id, dataset_id, row, path, is_available, state, newest_annotation_id) "
        "VALUES (%s, %s, %s, %s, 1, 0, 0)",
        ((i + 1, dataset.pk, i, f"night{i % 97}/image{i:07d}.png") for i in range(n)))
    cursor.executemany(
        "INSERT INTO labeling_frame (item_id, dataset_id, role, path, sha256, size, mtime_ns, width, height, format, "
        "note) VALUES (%s, %s, 'image', %s, %s, 1000, 1, 64, 64, 'PNG', '')",
        ((i + 1, dataset.pk, f"night{i % 97}/image{i:07d}.png", f"{i:064x}") for i in range(n)))
    cursor.execute("ANALYZE")
version = ModelVersion.objects.create(dataset=dataset, number=1, class_ids=[l.pk for l in labels], n_labels=100,
    n_rows=n, n_decisions=0, is_active=True, is_calibrated=True)
rng = np.random.default_rng(0)
with model_files.save_probabilities(version, n, 10) as P:
    for start in range(0, n, 100_000):
        P[start:start + 100_000] = rng.dirichlet(np.full(10, 0.3), size=min(100_000, n - start))
"""


@dataclass
class Browser:
    """A user's connection: cookies, CSRF token, keep-alive."""

    address: str
    cookies: dict[str, str] = field(default_factory=dict)
    slug: str = "stage"

    def __post_init__(self) -> None:
        self.host = urlsplit(self.address).netloc
        self.connection = HTTPConnection(self.host, timeout=60)
        page = self.get(f"/d/{self.slug}/")
        match = re.search(rb'X-CSRFToken": "(\w+)"', page)
        assert match, "the workbench has a CSRF token"
        self.token = match.group(1).decode()

    def get(self, path: str) -> bytes:
        return self._ask("GET", path, None)

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> bytes:
        return self._ask("POST", path, body, content_type)

    def _ask(self, method: str, path: str, body: bytes | None, content_type: str = "") -> bytes:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if body is not None:
            headers |= {"Content-Type": content_type, "X-CSRFToken": self.token}
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        text = response.read()
        for name, value in response.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        if response.status not in ANSWERS:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:300]!r}")
        return text


def store_environment(folder: Path) -> dict[str, str]:
    """Return the environment of processes that use a store."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AL_")} | {
        "AL_STORE_DIR": str(folder),
        "AL_TOKEN": "0",
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
    }


def run_script(folder: Path, script: str, *arguments: str) -> str:
    """Run a script in a process of a store, and return what it prints."""
    command = [sys.executable, "-c", f"import django; django.setup()\n{script}", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=store_environment(folder), check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@contextmanager
def stage(folder: Path, n_items: int, more: str = "") -> Iterator[str]:
    """Fill a store with ``n_items`` items and a model, run the script ``more``, serve the store, and yield its URL."""
    environment = store_environment(folder)
    run = [sys.executable, "manage.py"]
    subprocess.run([*run, "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
    run_script(folder, FILL + more, str(n_items))
    port = _free_port()
    server = subprocess.Popen([*run, "serve", "--port", str(port)], cwd=ROOT, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=2).read()
        except urllib.error.HTTPError:
            return  # it responds; without workers with an error status
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server did not respond within 60 s")
