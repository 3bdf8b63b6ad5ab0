"""Measure how long a label takes while many clients hold connections and others attack the server.

    python -m benchmarks.server [--browsers 200] [--slow 500] [--large 50] [--seconds 20] [--with granian]

200 browsers with 6 idle connections each (kept open after one request), 500 clients that send a request byte by byte,
and 50 that send a body of 1 GiB to the page for model files without a session. Meanwhile one person labels at 5 a
second, each label on a connection of its own and with one kept open, in turn. Prints latencies of saving, alone and
under these loads, and how many of the browsers' requests were answered. `--with granian` measures granian instead (not
a dependency: uv pip install granian).
"""

from __future__ import annotations

import argparse
import os
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.pages import action
from benchmarks.stage import ROOT, Browser, _free_port, _wait_for, stage

IDLE_EACH = 6
CHUNK = bytes(64 * 1024)
REQUEST = "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"
LARGE = (
    "POST /d/stage/encoders/add/ HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    "Content-Length: 1073741823\r\n\r\n"
)


def connect(address: str) -> socket.socket:
    parts = urlsplit(address)
    assert parts.hostname
    assert parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


class Crowd:
    """Connections of many clients, all served by one thread."""

    def __init__(self, address: str) -> None:
        self.address, self.host = address, urlsplit(address).netloc
        self.stopped = threading.Event()
        self.selector = selectors.DefaultSelector()
        self.idle: list[socket.socket] = []
        self.n_answered = self.n_closed = self.n_sent = 0
        self.threads = [threading.Thread(target=self._send_large, daemon=True)]

    def open_browsers(self, n: int) -> None:
        """Open the idle connections of ``n`` browsers, after one request on each."""
        for _ in range(n * IDLE_EACH):
            try:
                connection = connect(self.address)
                connection.settimeout(5)
                connection.sendall(REQUEST.format(host=self.host).encode())
                self.n_answered += connection.recv(65536).startswith(b"HTTP/1.1")
                self.idle.append(connection)
            except OSError:
                continue

    def open_slow(self, n: int) -> None:
        slow = []
        for _ in range(n):
            try:
                slow.append(connect(self.address))
            except OSError:
                continue
        self.threads.append(threading.Thread(target=self._trickle, args=(slow,), daemon=True))

    def open_large(self, n: int) -> None:
        for _ in range(n):
            self._reopen()

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def _reopen(self) -> None:
        """Open a connection and announce a large body; what the server closes is opened again, as an attacker would."""
        try:
            connection = connect(self.address)
            connection.sendall(LARGE.format(host=self.host).encode())
            connection.setblocking(False)
            self.selector.register(connection, selectors.EVENT_WRITE)
        except OSError:
            return

    def _send_large(self) -> None:
        while not self.stopped.is_set():
            for key, _ in self.selector.select(timeout=0.1):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                try:
                    self.n_sent += connection.send(CHUNK)
                except BlockingIOError:
                    continue
                except OSError:
                    self.selector.unregister(connection)
                    connection.close()
                    self.n_closed += 1
                    time.sleep(0.002)  # one attacker reopens at most 500 connections a second
                    self._reopen()

    def _trickle(self, slow: list[socket.socket]) -> None:
        text = REQUEST.format(host=self.host).encode()
        for position in range(10_000):
            for connection in slow:
                try:
                    connection.send(text[position % 20 : position % 20 + 1])
                except OSError:
                    continue
            if self.stopped.wait(2):
                return


def label(address: str, browser: Browser, seconds: float, first: int) -> list[float]:
    """Save labels for some seconds. Return ms for each; ``inf`` without an answer within 30 s."""
    times = []
    until = time.monotonic() + seconds
    number = first
    while time.monotonic() < until:
        number += 1
        if number % 2:
            browser.connection.close()  # the next request opens a new one
        browser.connection.timeout = 30
        started = time.perf_counter()
        try:
            browser.post("/d/stage/annotate/", action(number % 9_000 + 1, number % 10 + 1))
            times.append((time.perf_counter() - started) * 1000)
        except OSError:
            times.append(float("inf"))
        time.sleep(0.2)
    return times


def line(name: str, times: list[float]) -> None:
    ordered = sorted(times)
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    print(f"{name:<44} median {statistics.median(times):8.1f} ms   p95 {p95:8.1f}   longest {ordered[-1]:8.1f}")


@contextmanager
def granian(store: Path) -> Iterator[str]:
    """Serve a store with granian."""
    environment = os.environ | {
        "AL_STORE_DIR": str(store), "AL_TOKEN": "0", "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
    }  # fmt: skip
    port = _free_port()
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "--blocking-threads", "8",
        "--backpressure", "4096", "--http1-header-read-timeout", "10000", "--no-ws", "hoshina.wsgi:application",
    ]  # fmt: skip
    server = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        _wait_for(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def memory() -> float:
    """Return the MiB of the server's processes."""
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_info().rss for child in children) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browsers", type=int, default=200)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--large", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--with", dest="server", choices=("serve", "granian"), default="serve")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if options.server == "serve":
            address = stack.enter_context(stage(Path(folder), 10_000))
        else:
            with stage(Path(folder), 10_000):
                pass
            address = stack.enter_context(granian(Path(folder)))
        browser = Browser(address)
        label(address, browser, 2, 0)
        line("alone", label(address, browser, options.seconds / 2, 0))
        crowd = Crowd(address)
        started = time.monotonic()
        crowd.open_browsers(options.browsers)
        took = time.monotonic() - started
        n = options.browsers * IDLE_EACH
        print(f"{crowd.n_answered:,} of {n:,} first requests answered in {took:.1f} s; {memory():.0f} MiB")
        line(f"{options.browsers} browsers, idle", label(address, browser, options.seconds / 2, 0))
        crowd.open_slow(options.slow)
        crowd.open_large(options.large)
        crowd.start()
        time.sleep(1)
        line("and slow clients and large bodies", label(address, browser, options.seconds, 0))
        print(
            f"large bodies: {crowd.n_sent / 2**20:,.0f} MiB were sent, {crowd.n_closed:,} times the server hung up; "
            f"{memory():.0f} MiB"
        )
        crowd.stopped.set()


if __name__ == "__main__":
    main()
