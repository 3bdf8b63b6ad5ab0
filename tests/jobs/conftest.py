"""Real stores with real workers: processes of their own, a database file, a broker; nothing is eager."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import kombu.pools
import pytest
from django.test import override_settings

from hoshina.celery import app
from hoshina.jobs import lifecycle, presence
from hoshina.jobs.models import Job
from tests.databases import database_file
from tests.jobs import tasks as test_jobs
from tests.parts import ROOT, redis_server, wait_until

assert test_jobs  # registers its kinds in this process too


class Store:
    """A store that this process and worker processes share."""

    def __init__(self, folder: Path, broker_url: str) -> None:
        self.folder = folder
        self.broker_url = broker_url
        self.processes: list[subprocess.Popen[bytes]] = []
        self.names = 0

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "AL_STORE_DIR": str(self.folder),
            "AL_BROKER_URL": self.broker_url,
            "PYTHONUNBUFFERED": "1",
        }

    def manage(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a management command."""
        process = subprocess.Popen(
            [sys.executable, ROOT / "manage.py", *arguments],
            env={**self.environment, **options.pop("env", {})}, cwd=ROOT, **options,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def worker(self, *queues: str, wait: bool = True) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it takes jobs."""
        log = (self.folder / "worker.log").open("ab")
        process = self.manage("worker", *queues, stdout=log, stderr=log)
        log.close()
        if wait:
            wait_until(lambda: self.is_alive(process), why="the worker")
        return process

    def is_alive(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, (self.folder / "worker.log").read_text()
        return any(f":{process.pid}:" in name for queue in ("interactive", "heavy") for name in presence.alive(queue))

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def enqueue(self, kind: str, **params: Any) -> Job:
        """Queue a job with its own key, unless ``name`` is given, and with its own notes."""
        self.names += 1
        name = params.pop("name", str(self.names))
        notes = str(self.folder / f"notes-{name}.txt")
        return lifecycle.enqueue(kind, params={"name": name, "notes": notes, **params})

    def wait(self, job: Job, *states: str, seconds: float = 600) -> Job:
        """Wait until the job is in one of these states."""

        def arrived() -> bool:
            job.refresh_from_db()
            return job.state in states

        wait_until(arrived, seconds=seconds, why=f"{job.kind} to be {' or '.join(states)}")
        return job

    def lines(self, job: Job) -> list[str]:
        """Return what the job noted."""
        return test_jobs.notes(Path(job.params["notes"]))

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def _use_broker(url: str, transport: str | None, options: dict[str, Any]) -> None:
    kombu.pools.reset()
    app.pool.force_close_all()
    app._pool = None
    app.amqp._producer_pool = None
    app.conf.update(broker_url=url, broker_write_url=url, broker_transport=transport, broker_transport_options=options)


@contextmanager
def open_store(folder: Path, migrated: Path, broker_url: str) -> Iterator[Store]:
    """Return a store in an empty folder; this process's Django and Celery use it meanwhile."""
    conf = app.conf
    before = (conf.broker_url, conf.broker_transport, conf.broker_transport_options)
    folder.mkdir(exist_ok=True)
    shutil.copy(migrated, folder / "app.db")
    changed = override_settings(
        STORE_DIR=folder, BROKER_DIR=folder / "broker", BROKER_URL=broker_url,
        JOB_STALE=2.0, JOB_RESEND=1.0, JOB_HEARTBEAT=0.2,
    )  # fmt: skip
    store = Store(folder, broker_url)
    with changed, database_file(folder / "app.db"):
        if broker_url:
            _use_broker(broker_url, None, {"socket_connect_timeout": 2, "socket_timeout": 5, "max_retries": 0})
        else:
            options = {"folder": str(folder / "broker"), "polling_interval": 0.05}
            _use_broker("files://localhost", "hoshina.jobs.broker:Transport", options)
        try:
            yield store
        finally:
            store.end()
            _use_broker(*before)


@pytest.fixture
def files_store(tmp_path: Path, migrated: Path, django_db_blocker: Any) -> Iterator[Store]:
    """Provide a store on the embedded broker."""
    with django_db_blocker.unblock(), open_store(tmp_path / "store", migrated, "") as store:
        yield store


BROKERS = ["files", pytest.param("redis", marks=pytest.mark.redis)]


@contextmanager
def _on_broker(broker: str, folder: Path, migrated: Path) -> Iterator[Store]:
    with ExitStack() as stack:
        url = stack.enter_context(redis_server()).url if broker == "redis" else ""
        yield stack.enter_context(open_store(folder, migrated, url))


@pytest.fixture(params=BROKERS)
def any_store(
    request: pytest.FixtureRequest, tmp_path: Path, migrated: Path, django_db_blocker: Any
) -> Iterator[Store]:
    """Provide a store on the embedded broker, and one on a real Redis."""
    with django_db_blocker.unblock(), _on_broker(request.param, tmp_path / "store", migrated) as store:
        yield store


@pytest.fixture(scope="module", params=BROKERS)
def working_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated: Path, django_db_blocker: Any
) -> Iterator[Store]:
    """Provide ``any_store`` with a worker for each queue, shared by a module, because starting one is slow."""
    folder = tmp_path_factory.mktemp("working") / "store"
    with django_db_blocker.unblock(), _on_broker(request.param, folder, migrated) as store:
        workers = [store.worker("interactive", wait=False), store.worker("heavy", wait=False)]
        wait_until(lambda: all(store.is_alive(worker) for worker in workers), why="the workers")
        yield store
