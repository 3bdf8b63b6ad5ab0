"""Run jobs in the foreground of a command: with a progress bar, one line on failure, and Ctrl-C to cancel."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, NoReturn
from uuid import UUID

from django.core.management.base import BaseCommand
from tqdm import tqdm

from hoshina.core.errors import Refusal
from hoshina.jobs import registry
from hoshina.jobs.errors import ActiveElsewhere
from hoshina.jobs.lifecycle import reap, run_now
from hoshina.jobs.models import Job
from hoshina.jobs.runner import OnProgress

# Seconds between two queries for a job of another process.
FOLLOW_EVERY = 0.3


class Bar:
    """A progress bar for a job on one terminal line."""

    def __init__(self, position: int | None = None) -> None:
        self._stage = ""
        self._bar: tqdm[NoReturn] = tqdm(file=sys.stderr, leave=False, position=position, dynamic_ncols=True)

    def show(self, job: Job) -> None:
        """Draw the job's stage and progress."""
        if job.stage != self._stage:
            self._stage = job.stage
            self._bar.reset(total=job.total or None)
        status = job.stage or job.get_state_display()
        self._bar.set_description_str(f"{registry.described(job.kind).title}: {status}", refresh=False)
        self._bar.unit = f" {registry.described(job.kind).unit or 'it'}"
        self._bar.total = job.total or None
        self._bar.n = job.done
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


class Bars:
    """A bar for each active job if standard error is a terminal, and a line for each that ended."""

    def __init__(self) -> None:
        self._bars: dict[UUID, Bar | None] = {}
        self._draws = sys.stderr.isatty()

    @property
    def active(self) -> bool:
        """Return whether a job was active at the last call of :meth:`show`."""
        return bool(self._bars)

    def show(self, active: Sequence[Job]) -> None:
        """Draw the active jobs, and print how jobs ended that were active at the last call."""
        ended = self._bars.keys() - {job.pk for job in active}
        for pk in ended:
            if bar := self._bars.pop(pk):
                bar.close()
        for job in Job.objects.filter(pk__in=ended).order_by("finished_at"):
            end = " ".join(f"{job.error} {job.hint}".split())
            self.say(f"{registry.described(job.kind).title}: {job.get_state_display().lower()}{end and '. '}{end}")
        for job in active:
            if job.pk not in self._bars:
                self._bars[job.pk] = Bar(len(self._bars)) if self._draws else None
            if bar := self._bars[job.pk]:
                bar.show(job)

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        for bar in self._bars.values():
            if bar:
                bar.close()
        self._bars.clear()


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[OnProgress]:
    """Provide an ``on_progress`` for :func:`run_now`: a bar on standard error if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda job: None
        return
    with closing(Bar()) as bar:
        yield bar.show


@contextmanager
def _terminate_interrupts() -> Iterator[None]:
    """Let SIGTERM stop a command as Ctrl-C does, so that its job ends as cancelled, not as lost."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with ExitStack() as stack:
        with suppress(ValueError):  # not the main thread, where signals can't arrive
            stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, interrupt))
        yield


def run_command_job(
    command: BaseCommand,
    kind: str,
    dataset_id: int | None = None,
    params: dict[str, Any] | None = None,
    as_json: bool = False,
) -> Job:
    """Run and return a job with a bar, none if ``as_json``. Raises Refusal if it failed or was stopped with Ctrl-C."""
    return _in_foreground(
        kind, lambda show: run_now(kind, dataset_id=dataset_id, params=params, on_progress=show), as_json=as_json
    )


def run_or_follow_command_job(kind: str, dataset_id: int, *, as_json: bool = False) -> Job:
    """Run a job in the foreground, or wait for the one of this kind that is active elsewhere.

    A queued one is run here with its own parameters. Raises what :func:`run_command_job` does.
    """
    return _in_foreground(kind, lambda show: _run_or_follow(kind, dataset_id, show), as_json=as_json)


def _run_or_follow(kind: str, dataset_id: int, show: OnProgress) -> Job:
    while True:
        reap()
        active = Job.objects.filter(kind=kind, dataset_id=dataset_id, state__in=Job.ACTIVE).first()
        if active is None or active.state == Job.State.QUEUED:
            try:
                return run_now(kind, dataset_id=dataset_id, params=active.params if active else {}, on_progress=show)
            except ActiveElsewhere:
                continue
        if (ended := _follow(active, show)) is not None:
            return ended


def _follow(job: Job, show: OnProgress) -> Job | None:
    """Wait until a running job ends. Return it if it succeeded, None if it was put back into the queue."""
    while job.state == Job.State.RUNNING:
        show(job)
        time.sleep(FOLLOW_EVERY)
        reap()  # its worker may have died
        job.refresh_from_db()
    if job.state == Job.State.SUCCEEDED:
        return job
    if job.state == Job.State.QUEUED:
        return None
    title = registry.described(job.kind).title
    raise Refusal(job.error or f"{title} was {job.get_state_display().lower()} in another process.", job.hint)


def _in_foreground(kind: str, work: Callable[[OnProgress], Job], *, as_json: bool) -> Job:
    try:
        with _terminate_interrupts(), progress_bar(quiet=as_json) as on_progress:
            return work(on_progress)
    except KeyboardInterrupt as error:
        raise Refusal(f"{registry.described(kind).title} was stopped.") from error
