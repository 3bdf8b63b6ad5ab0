"""Several hosts on one machine: processes that share PostgreSQL, Redis and a folder, but neither name nor clock."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from psycopg.rows import TupleRow

from tests.label_clients import Browser
from tests.parts import ROOT, fake_time_library, free_port, wait_until
from tests.processes import environment

PROGRAMS = ("serve", "worker interactive", "worker heavy", "worker heavy")


@dataclass
class Shared:
    """What all hosts share: a PostgreSQL database, Redis, and the folder of the store."""

    store: Path
    database: str
    broker: str

    def query(self, sql: str) -> list[TupleRow]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(sql).fetchall()  # type: ignore[arg-type]

    def execute(self, sql: str) -> None:
        with psycopg.connect(self.database) as connection:
            connection.execute(sql)  # type: ignore[arg-type]


@dataclass
class Host:
    """Run a host with a web server, a worker for interactive jobs and two for heavy ones.

    Its clock is ``hours`` ahead, and each operation on a file of the store takes ``slow_seconds``.
    """

    name: str
    shared: Shared
    hours: float = 0
    slow_seconds: float = 0
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.shared.store.with_name(f"{self.name}.log")

    @property
    def hanging(self) -> Path:
        """Return the file during whose existence the host's connection to the store hangs."""
        return self.shared.store.with_name(f"{self.name}.hanging")

    def environment(self) -> dict[str, str]:
        variables = {
            "DJANGO_SETTINGS_MODULE": "tests.settings", "AL_DATABASE_URL": self.shared.database,
            "AL_BROKER_URL": self.shared.broker, "AL_EMBEDDING_BACKEND": "hog", "OMP_NUM_THREADS": "1",
            "TEST_HOST": self.name, "TEST_SLOW_SECONDS": str(self.slow_seconds), "TEST_HANGING": str(self.hanging),
            # Eight processes on a busy machine are slow to send heartbeats.
            "TEST_JOB_STALE": "10", "TEST_JOB_HEARTBEAT": "0.5",
        }  # fmt: skip
        if self.hours:
            variables |= {
                "LD_PRELOAD": str(fake_time_library()), "FAKETIME": f"+{self.hours:g}h",
                # The times of files come from the file server, and durations are right everywhere.
                "NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        return environment(self.shared.store, **variables)

    def start(self) -> None:
        """Start the programs that do not run."""
        if self.processes:
            return
        for program in PROGRAMS:
            port = ["--port", str(self.port)] if program == "serve" else []
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.operations.run_on_host", *program.split(), *port],
                    cwd=ROOT, env=self.environment(), stdout=log, stderr=log,
                )  # fmt: skip
            self.processes.append(process)

    def manage(self, *arguments: str, code: int = 0) -> str:
        """Run a management command on this host until it ends."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.operations.run_on_host", *arguments],
            cwd=ROOT, env=self.environment(), capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def wait_until_well(self) -> None:
        """Wait until the web server answers and all of this host's workers have reported."""
        browser = Browser(self.port, 0, [])

        def is_well() -> bool:
            assert all(process.poll() is None for process in self.processes), self.log.read_text()
            [(n,)] = self.shared.query(f"SELECT count(*) FROM jobs_worker WHERE name LIKE '{self.name}:%'")
            with suppress(OSError):
                return int(n) == len(PROGRAMS) - 1 and browser.ask("GET", "/healthz")[0] == 200
            return False

        wait_until(is_well, why=f"the host {self.name}")

    def pids(self, program: str) -> set[int]:
        """Return the ids of the processes of one of the programs."""
        return {process.pid for name, process in zip(PROGRAMS, self.processes, strict=True) if name == program}

    def kill(self) -> None:
        """End all processes at once, as a power failure does."""
        roots = [psutil.Process(process.pid) for process in self.processes if process.poll() is None]
        tree = [*roots, *(child for root in roots for child in root.children(recursive=True))]
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.suspend()  # so that none of them notices the death of another
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self.processes:
            started.wait()
        psutil.wait_procs(tree, timeout=30)
        self.processes.clear()
