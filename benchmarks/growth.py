"""Measure whether a server grows: memory, threads, open files, database and store over many requests and retrains.

    python -m benchmarks.growth [--requests 20000] [--retrains 500]

`up` with HOG embeddings (1,797 digits, SQLite, embedded broker) gets mixed requests of one person: grid pages
and pulls of six queues, thumbnails, labels (as many images are cleared as labeled), polls of jobs, the badge, the
accuracy page. Retrains are spread evenly among them. Prints samples before, at a quarter, at half and at the end, after
the first tenth as warm-up: for each process its memory (without mapped files), threads and open files; bytes of the
database by table; files and bytes of each folder of the store.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import psutil
from sklearn.datasets import load_digits

from benchmarks.stage import ROOT, Browser, _free_port, _wait_for
from hoshina.core.folder_size import FolderSize, folder_size
from labeling.ingest.demo_images import write_digits

SLUG = "digits"
QUEUES = ("auto", "uncertain", "random", "diverse", "all&state=any", "audit")
N_DIGITS = 1797
# One of this many images is labeled at a time; older labels are cleared.
LABELED = 9
LABELS_EACH = 4
# Requests between two retrains at the default numbers, in the order in which they are sent.
MIX = (
    "pull", "thumbnail", "label", "strip", "page", "thumbnail", "label", "badge", "thumbnail", "label",
    "page", "thumbnail", "label", "strip", "clear", "thumbnail", "item", "clear", "header", "accuracy",
)  # fmt: skip


@dataclass(frozen=True)
class ProcessSize:
    """Hold what one process uses: memory in bytes, threads and open files."""

    memory: int
    n_threads: int
    n_files: int


@dataclass(frozen=True)
class Sample:
    """Hold what a running `up` uses at one moment."""

    n_requests: int
    n_retrains: int
    processes: dict[str, ProcessSize]
    tables: dict[str, int]
    folders: dict[str, FolderSize]


def take_sample(process: psutil.Process, store: Path, n_requests: int, n_retrains: int) -> Sample:
    return Sample(n_requests, n_retrains, process_sizes(process), table_sizes(store / "app.db"), folder_sizes(store))


def process_sizes(process: psutil.Process) -> dict[str, ProcessSize]:
    """Return what `up`, its web server and its workers use; decoders and other helpers are added up."""
    sizes = {"up": _process_size(process)}
    for child in process.children():
        words = " ".join(child.cmdline())
        name = next((name for name in ("serve", "worker interactive", "worker heavy") if name in words), "")
        if name:
            sizes[name] = _process_size(child)
            helpers = [_process_size(helper) for helper in child.children(recursive=True)]
            sizes[f"{name}, helpers"] = ProcessSize(
                sum(helper.memory for helper in helpers),
                sum(helper.n_threads for helper in helpers),
                sum(helper.n_files for helper in helpers),
            )
    return sizes


def _process_size(process: psutil.Process) -> ProcessSize:
    return ProcessSize(_memory(process), process.num_threads(), process.num_fds())


def _memory(process: psutil.Process) -> int:
    """Return the bytes that only this process uses, on Linux without those of mapped files, which are a cache."""
    try:
        smaps = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except FileNotFoundError:
        return int(process.memory_full_info().uss)
    return 1024 * sum(map(int, re.findall(r"^Anonymous:\s+(\d+) kB", smaps, re.MULTILINE)))


def table_sizes(file: Path) -> dict[str, int]:
    """Return the bytes of each table with its indexes."""
    with closing(sqlite3.connect(file, timeout=30)) as database:
        rows = database.execute(
            "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat AS d JOIN sqlite_schema AS s ON s.name = d.name "
            "WHERE d.aggregate = TRUE GROUP BY s.tbl_name"
        )
        return dict(rows.fetchall())


def folder_sizes(store: Path) -> dict[str, FolderSize]:
    """Return the size of each folder of the store, and that of the files outside folders as ``files``."""
    entries = list(os.scandir(store))
    files = [entry for entry in entries if not entry.is_dir() and not entry.name.startswith("app.db")]
    sizes = {entry.name: folder_size(Path(entry.path)) for entry in entries if entry.is_dir()}
    return sizes | {"files": FolderSize(sum(entry.stat().st_size for entry in files), len(files))}


@dataclass
class Person:
    """Someone who labels digits, as the page's script does it."""

    address: str
    n_images: int = N_DIGITS
    n_requests: int = 0
    labeled: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.browser = Browser(self.address, slug=SLUG)
        self.queues = cycle(QUEUES)
        self.window = uuid.uuid4().hex
        self.digits = load_digits().target.tolist()
        self.pictures: Iterator[str] = iter(())
        self.items: list[tuple[int, int, dict[str, object]]] = []
        self.next = ""
        self.dataset_id = 0

    def get(self, path: str) -> str:
        self.n_requests += 1
        return self.browser.get(path).decode(errors="replace")  # also pictures

    def add_classes(self) -> None:
        """Add a class for each digit."""
        for digit in range(10):
            self.browser.post(f"/d/{SLUG}/classes/add/", f"name={digit}".encode(), "application/x-www-form-urlencoded")
        page = self.browser.get(f"/d/{SLUG}/").decode()
        found = re.search(r"/jobs/strip/(\d+)/", page)
        assert found, "the workbench polls the jobs of its dataset"
        self.dataset_id = int(found[1])

    def send(self, kind: str) -> None:
        """Send one request of this kind."""
        match kind:
            case "pull":
                self._read(self.get(f"/d/{SLUG}/grid/?queue={next(self.queues)}&n=60&window={self.window}"))
            case "page" if self.next:
                self._read(self.get(f"{self.next}&window={self.window}"))
            case "thumbnail":
                self.get(next(self.pictures, "/healthz"))
            case "label" if self.items:
                self._label()
            case "clear" if len(self.labeled) > (n := self.n_images // LABELED):
                cleared, self.labeled = self.labeled[:-n], self.labeled[-n:]
                self._act("clear", None, [{"id": pk, "seen": 0, "seconds": 1} for pk in cleared])
            case "strip":
                self.get(f"/jobs/strip/{self.dataset_id}/?since={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
            case "item" if self.items:
                self.get(f"/d/{SLUG}/items/{self.items[0][1]}/detail/")
            case "accuracy" | "header":
                self.get(f"/d/{SLUG}/{kind}/")
            case _:
                self.get(f"/d/{SLUG}/model/badge/")

    def _read(self, page: str) -> None:
        """Remember the tiles of a page of the grid, its pictures and the address of the next page."""
        found = re.search(r'data-next="([^"]*)"', page)
        self.next = html.unescape(found[1]) if found else ""
        tiles = re.findall(r'data-item="(\d+)" data-row="(\d+)".*?data-shown="([^"]*)"', page)
        self.items = [(int(pk), int(row), json.loads(html.unescape(shown))) for pk, row, shown in tiles]
        self.pictures = iter([html.unescape(source) for source in re.findall(r'<img src="([^"]*)"', page)])

    def _label(self) -> None:
        """Label the next images of the page, all as the digit of the first."""
        chosen, self.items = self.items[:LABELS_EACH], self.items[LABELS_EACH:]
        for pk, row, shown in chosen:
            # Classes are numbered in the order in which they were added.
            self._act("assign", self.digits[row] + 1, [{"id": pk, "seen": 0, "seconds": 1, "shown": shown}])
            self.labeled.append(pk)

    def _act(self, kind: str, label: int | None, items: list[dict[str, object]]) -> None:
        self.n_requests += 1
        action = {
            "uuid": str(uuid.uuid4()), "kind": kind, "label": label, "overwrite": True, "suggestion_shown": True,
            "at": datetime.now(UTC).isoformat(), "items": items,
        }  # fmt: skip
        answer = json.loads(self.browser.post(f"/d/{SLUG}/annotate/", json.dumps({"actions": [action]}).encode()))
        assert answer["results"][0]["status"] == "saved", answer

    def retrain(self, store: Path) -> None:
        """Request a retrain and wait until it has ended."""
        self.n_requests += 1
        before = n_retrained(store)
        self.browser.post(f"/d/{SLUG}/model/retrain/", b"")
        deadline = time.monotonic() + 120
        while n_retrained(store) == before:
            assert time.monotonic() < deadline, "the retrain ends"
            time.sleep(0.02)


def n_retrained(store: Path) -> int:
    """Return the number of retrains that succeeded. Raises RuntimeError if one failed."""
    with closing(sqlite3.connect(store / "app.db", timeout=30)) as database:
        states = dict(
            database.execute("SELECT state, count(*) FROM jobs_job WHERE kind = 'retrain' GROUP BY state").fetchall()
        )
    if states.get("failed") or states.get("lost"):
        raise RuntimeError(f"a retrain failed: {states}")
    return int(states.get("succeeded", 0))


def work(person: Person, process: psutil.Process, store: Path, requests: int, retrains: int) -> list[Sample]:
    """Send requests and retrain in between. Return samples after a tenth, a quarter, half and all of it."""
    samples = []
    marks = [round(requests * share) for share in (0.1, 0.25, 0.5, 1)]
    mix, n_retrains = cycle(MIX), 0
    person.n_requests = 0
    while marks:
        person.send(next(mix))
        while n_retrains < retrains and person.n_requests * retrains >= (n_retrains + 1) * requests:
            person.retrain(store)
            n_retrains += 1
        if person.n_requests >= marks[0]:
            marks.pop(0)
            time.sleep(1)  # pictures that were requested ahead, and the last job
            samples.append(take_sample(process, store, person.n_requests, n_retrains))
    return samples


@contextmanager
def digits_server(store: Path, n_images: int = N_DIGITS) -> Iterator[tuple[str, psutil.Process]]:
    """Run `up` on a folder of digits. Yield its address and process once the digits have embeddings."""
    folder = write_digits(store.parent / SLUG)
    for file in sorted(folder.iterdir())[n_images:]:
        file.unlink()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AL_")}
    environment |= {"AL_STORE_DIR": str(store), "AL_TOKEN": "0", "AL_EMBEDDING_BACKEND": "hog"}
    port = _free_port()
    command = [sys.executable, "manage.py", "up", str(folder), "--no-browser", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as up:
        try:
            _wait_for(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + 180
            while not _is_embedded(store):
                assert time.monotonic() < deadline, "the digits are embedded"
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}", psutil.Process(up.pid)
        finally:
            up.terminate()


def _is_embedded(store: Path) -> bool:
    with closing(sqlite3.connect(store / "app.db", timeout=30)) as database:
        query = "SELECT count(*) FROM jobs_job WHERE kind = 'embed' AND state = 'succeeded'"
        return database.execute(query).fetchone() == (1,)


def report(samples: list[Sample]) -> None:
    print(f"{'requests':<34}" + "".join(f"{sample.n_requests:>12,}" for sample in samples))
    print(f"{'retrains':<34}" + "".join(f"{sample.n_retrains:>12,}" for sample in samples))
    for name in samples[0].processes:
        sizes = [sample.processes.get(name) for sample in samples]
        print(f"{name:<34}" + "".join(_cell(size) for size in sizes))
    print("(MiB of memory / threads / open files)\n")
    for name in sorted({table for sample in samples for table in sample.tables}):
        sizes = [sample.tables.get(name, 0) for sample in samples]
        if sizes[-1] > sizes[0]:
            print(f"{name:<34}" + "".join(f"{size / 2**20:>12.2f}" for size in sizes))
    print(f"{'all tables':<34}" + "".join(f"{sum(sample.tables.values()) / 2**20:>12.2f}" for sample in samples))
    print("(MiB; tables that did not grow are left out)\n")
    for name in sorted({folder for sample in samples for folder in sample.folders}):
        sizes = [sample.folders.get(name, FolderSize()) for sample in samples]
        print(f"{name:<34}" + "".join(f"{size.n_files:>6} {size.n_bytes / 2**20:>5.1f}" for size in sizes))
    print("(files, MiB)")


def _cell(size: ProcessSize | None) -> str:
    return f"{'-':>12}" if size is None else f"{size.memory / 2**20:>6.0f}/{size.n_threads}/{size.n_files:<2}".rjust(12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--retrains", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        store.mkdir()
        with digits_server(store) as (address, process):
            person = Person(address)
            person.add_classes()
            started = time.monotonic()
            samples = work(person, process, store, options.requests, options.retrains)
            print(f"{time.monotonic() - started:.0f} s")
            report(samples)


if __name__ == "__main__":
    main()
