"""Provide the run of a job, through which its function reports progress and learns that it should stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import connection, connections
from django.db.models import QuerySet

from hoshina.core.errors import Refusal
from hoshina.jobs import clock
from hoshina.jobs.errors import Cancelled, GivesWay, Stopping, Superseded
from hoshina.jobs.models import Job

log = logging.getLogger(__name__)

OnProgress = Callable[[Job], None]

# Set when this process is asked to shut down; every Run in it then raises Stopping.
stopping = threading.Event()
# The jobs that this process is running now.
running: set[UUID] = set()
_busy = 0


class Run:
    """A run of a job by the process that claimed it."""

    def __init__(
        self, job: Job, *, on_progress: OnProgress | None = None, must_give_way: Callable[[], bool] | None = None
    ) -> None:
        self.job = job
        self._on_progress = on_progress
        self._must_give_way = must_give_way
        self._saved_at = float("-inf")

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.job.params)

    @property
    def dataset_id(self) -> int:
        """Return the id of the job's dataset. Raises ValueError for a job that has none."""
        if self.job.dataset_id is None:
            raise ValueError(f"The job {self.job} belongs to no dataset.")
        return self.job.dataset_id

    def stage(self, name: str, total: int = 0) -> None:
        """Start a new stage of ``total`` steps (0: unknown) at step 0."""
        self.job.stage, self.job.done, self.job.total = name[:200], 0, total
        self.job.stage_started_at = clock.now()
        self._save()

    def advance(self, n: int = 1) -> None:
        """Report that ``n`` more steps are done. Raises Cancelled."""
        self.progress(self.job.done + n)

    def progress(self, done: int, total: int | None = None) -> None:
        """Report that ``done`` steps are done. Raises Cancelled."""
        self.job.done = done
        if total is not None:
            self.job.total = total
        self.check()

    def check(self) -> None:
        """Raise Cancelled if cancellation was requested; query the database at most twice a second."""
        if stopping.is_set():
            raise Stopping
        if time.monotonic() - self._saved_at >= settings.JOB_PROGRESS:
            self._save()

    def held(self) -> QuerySet[Job]:
        """Return a query for the job's row, empty once the job was taken over or ended."""
        return Job.objects.filter(
            pk=self.job.pk, state=Job.State.RUNNING, worker=self.job.worker, attempts=self.job.attempts
        )

    def beat(self) -> None:
        """Record a heartbeat of the job."""
        self.held().update(heartbeat_at=clock.now())

    def _save(self) -> None:
        job = self.job
        self._saved_at = time.monotonic()
        if stopping.is_set():
            raise Stopping
        try:
            if self._must_give_way is not None and self._must_give_way():
                raise GivesWay
            saved = (
                self.held()
                .filter(cancel_requested=False)
                .update(
                    stage=job.stage,
                    stage_started_at=job.stage_started_at,
                    done=job.done,
                    total=job.total,
                    heartbeat_at=clock.now(),
                )
            )
            if not saved:
                self._raise_reason()
        except AnyDatabaseError as error:
            if connection.in_atomic_block:
                raise
            log.warning("The progress of %s could not be saved, going on: %s", job, error)
            connection.close()
        if self._on_progress is not None:
            self._on_progress(job)

    def _raise_reason(self) -> None:
        if self.held().filter(cancel_requested=True).exists():
            raise Cancelled
        raise Superseded


def failure(job: Job, error: Exception) -> dict[str, str]:
    """Return the error and the hint of a failed job in a form that any database accepts; log all but refusals."""
    if isinstance(error, Refusal):
        message, hint = error.message, error.hint
    else:
        log.exception("%s failed", job)
        message, hint = f"{type(error).__name__}: {error}", ""
    return {"error": message.replace("\x00", "")[:4000], "hint": hint.replace("\x00", "")[:4000]}


@contextmanager
def heartbeat(beat: Callable[[], None]) -> Iterator[None]:
    """Call ``beat`` every few seconds in a thread while the block runs."""
    ended = threading.Event()

    def run() -> None:
        pause = settings.JOB_HEARTBEAT
        try:
            while not ended.wait(pause):
                pause = settings.JOB_HEARTBEAT
                try:
                    beat()
                except AnyDatabaseError as error:
                    log.warning("A heartbeat could not be saved, trying again: %s", error)
                    connections.close_all()
                    pause = min(1.0, pause)
        finally:
            connections.close_all()

    global _busy
    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    _busy += 1
    try:
        yield
    finally:
        _busy -= 1
        ended.set()
        thread.join(timeout=5)


def is_busy() -> bool:
    """Return whether this process runs a job or helps with one."""
    return _busy > 0


def rate(job: Job, now: datetime | None = None) -> float | None:
    """Return the steps per second in this stage so far; None while unknown."""
    if not job.done or job.stage_started_at is None:
        return None
    passed = ((now or clock.now()) - job.stage_started_at).total_seconds()
    return job.done / passed if passed >= 2 else None


def seconds_left(job: Job, now: datetime | None = None) -> float | None:
    """Return the estimated seconds until the stage ends; None while unknown."""
    pace = rate(job, now)
    return max(job.total - job.done, 0) / pace if job.total and pace else None
