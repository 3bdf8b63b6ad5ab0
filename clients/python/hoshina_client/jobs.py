"""List jobs, and wait for them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, fields
from typing import Any

from hoshina_client.errors import HoshinaError, JobFailed
from hoshina_client.transport import Transport

# Seconds between two looks at a job: short at first, because many jobs take less than a second.
_FIRST_LOOK, _LONGEST_LOOK = 0.1, 1.0


@dataclass(frozen=True)
class Job:
    """Represent a background job as it was when it was requested. ``total`` is 0 if it is not known."""

    id: str
    kind: str
    title: str
    dataset: str | None
    state: str
    is_active: bool
    stage: str
    done: int
    total: int
    waits_for: str
    error: str
    hint: str
    result: dict[str, Any]


def job_of(answer: dict[str, Any]) -> Job:
    """Return the job that an answer describes."""
    return Job(**{field.name: answer[field.name] for field in fields(Job)})


def jobs_of(transport: Transport, **filters: str | None) -> list[Job]:
    """Return the newest jobs, newest first."""
    return [job_of(answer) for answer in transport.get("jobs", **filters)]


def cancel(transport: Transport, job: Job) -> Job:
    """Cancel a queued job at once, and ask a running one to stop. Return it as it is then."""
    return job_of(transport.post(f"jobs/{job.id}/cancel"))


def wait_for(transport: Transport, job: Job, *, progress: bool, timeout: float | None) -> Job:
    """Wait until a job ends, and return it. Raises JobFailed."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause, line = _FIRST_LOOK, _Line(progress)
    try:
        while True:
            job = job_of(transport.get(f"jobs/{job.id}"))
            line.show(job)
            if not job.is_active:
                break
            if deadline is not None and time.monotonic() > deadline:
                raise HoshinaError(f"The job “{job.title}” did not end in {timeout:g} s.", "It continues to run.")
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK)
    finally:
        line.end()
    if job.state != "succeeded":
        raise JobFailed(job)
    return job


class _Line:
    """Represent a line of the terminal or notebook that shows how far a job is."""

    def __init__(self, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._length = 0

    def show(self, job: Job) -> None:
        count = f" {job.done:,} of {job.total:,}" if job.total else ""
        text = f"{job.title}: {job.stage or job.waits_for or job.state}{count}"
        if self._is_shown:
            sys.stderr.write("\r" + text.ljust(self._length))
            sys.stderr.flush()
            self._length = len(text)

    def end(self) -> None:
        if self._length:
            sys.stderr.write("\n")
            sys.stderr.flush()
