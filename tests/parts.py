"""Parts that a test needs beside Python: Redis, PostgreSQL, Chromium. A machine without one skips, with the reason;
with HOSHINA_REQUIRE_PARTS=1 a missing part fails instead."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# ms; only what never happens takes that long: on two busy cores an answer may take half a minute.
BROWSER_TIMEOUT = 180_000
PARTS = ("redis", "postgres", "chromium", "caddy", "nginx", "faketime")
CHROMIUM_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


def missing(reason: str) -> None:
    """Skip the running test, or fail it where every part must be present."""
    if os.environ.get("HOSHINA_REQUIRE_PARTS") == "1":
        pytest.fail(f"A part is missing: {reason}")
    pytest.skip(reason)


def redis_program() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


def postgres_folder() -> Path | None:
    """Return where initdb and postgres are: the newest version that is installed."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/opt/homebrew/opt").glob("postgresql@*/bin")]
    usable = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    return max(usable, key=lambda folder: int("0" + "".join(filter(str.isdigit, str(folder)))), default=None)


def nginx() -> str | None:
    """Return the program of nginx, which Debian keeps among the administrator's."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def fake_time_library() -> Path | None:
    """Return the library that sets the clock of a process when it is preloaded."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def chromium() -> str:
    """Return the browser's program."""
    for name in (
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "chrome",
    ):
        if found := shutil.which(name):
            return found
    mac = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    if mac.exists():
        return str(mac)
    missing("no Chromium on this machine")
    raise AssertionError


def require(part: str) -> None:
    """Skip or fails the running test when a part is not installed."""
    if part not in PARTS:
        raise ValueError(f"{part!r} is none of {', '.join(PARTS)}.")
    if part == "redis" and redis_program() is None:
        missing("no redis-server on this machine")
    if part == "postgres" and postgres_folder() is None:
        missing("no PostgreSQL server (initdb, postgres) on this machine")
    if part == "chromium":
        chromium()
    if part == "caddy" and shutil.which("caddy") is None:
        missing("no Caddy on this machine")
    if part == "nginx" and nginx() is None:
        missing("no nginx on this machine")
    if part == "faketime" and fake_time_library() is None:
        missing("no libfaketime on this machine")


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def wait_until(true: Callable[[], object], *, seconds: float = 600, why: str = "it") -> None:
    """Wait for a condition; fails the test when it doesn't come."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            pytest.fail(f"Waited {seconds:g} s in vain for {why}.")
        time.sleep(0.02)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class RedisServer:
    """A Redis of its own that can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = redis_program()
        assert program
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [program, *options, "--dir", str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: answers(self.port), why="Redis")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process = None


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Return a throwaway Redis on a free port; ``.url``, ``.stop()``, ``.start()``."""
    require("redis")
    with tempfile.TemporaryDirectory(prefix="hoshina-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _unprivileged() -> dict[str, int]:
    """Return a user to run PostgreSQL as, which refuses to run as root."""
    if os.name == "nt" or os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid}
    missing("PostgreSQL does not run as root and there is no other user")
    raise AssertionError


@contextmanager
def postgres_server() -> Iterator[str]:
    """Return a throwaway PostgreSQL cluster on a free port; yields the URL of an empty database."""
    require("postgres")
    programs = postgres_folder()
    assert programs
    who = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="hoshina-postgres-", dir="/tmp" if os.name != "nt" else None))
    if who:
        os.chown(folder, who["user"], who["group"])
    options = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **who}
    data, port = folder / "data", free_port()
    server: subprocess.Popen[bytes] | None = None
    try:
        make = ["initdb", "-D", data, "-U", "hoshina", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run([programs / make[0], *make[1:]], check=True, **options)
        run = ["-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", folder, "-F"]
        server = subprocess.Popen([programs / "postgres", *run], **options)
        wait_until(lambda: _postgres_answers(port), why="PostgreSQL")
        yield f"postgresql://hoshina@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.send_signal(2)  # fast shutdown
            server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_answers(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"postgresql://hoshina@127.0.0.1:{port}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def run_on_postgresql(*tests: str) -> None:
    """Run tests of the suite once more, by a process whose database is a PostgreSQL of its own."""
    import psycopg

    with postgres_server() as url:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AL_", "PYTEST_"))}
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--reuse-db", *tests],
            env=environment | {"AL_DATABASE_URL": url}, cwd=ROOT, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "skipped" not in ran.stdout
        # The database that they left behind says that they were there.
        with psycopg.connect(url.replace("/postgres", "/test_postgres")) as connection:
            connection.execute("SELECT 1 FROM labeling_item")
