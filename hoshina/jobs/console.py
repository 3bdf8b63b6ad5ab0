"""Jobs in the foreground of a command: a progress bar, one line on failure, Ctrl-C cancels."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from hoshina.jobs import registry
from hoshina.jobs.errors import JobError
from hoshina.jobs.life import run_now
from hoshina.jobs.models import Job
from hoshina.jobs.runner import OnProgress


class Bar:
    """One terminal line for one job, redrawn as its stage goes on."""

    def __init__(self, title: str = "", position: int | None = None) -> None:
        self._title = title
        self._stage = ""
        self._bar: tqdm[NoReturn] = tqdm(
            total=None, file=sys.stderr, leave=False, position=position, dynamic_ncols=True, unit=""
        )

    def show(self, job: Job) -> None:
        """Draws the job's stage, done and total."""
        if job.stage != self._stage:
            self._stage = job.stage
            self._bar.reset()
        self._bar.set_description_str(job.stage or self._title or registry.title(job.kind), refresh=False)
        self._bar.total = job.total or None
        self._bar.n = job.done
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[OnProgress]:
    """An ``on_progress`` for :func:`run_now`: a bar on standard error if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda job: None
        return
    bar = Bar()
    try:
        yield bar.show
    finally:
        bar.close()


@contextmanager
def _terminate_interrupts() -> Iterator[None]:
    """SIGTERM stops a command the way Ctrl-C does, so that its job ends as cancelled and not as lost."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, where signals can't arrive
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_command_job(
    command: BaseCommand,
    kind: str,
    dataset_id: int | None = None,
    params: dict[str, Any] | None = None,
    as_json: bool = False,
) -> Job:
    """Runs a job in the foreground of ``command`` with a bar (none with ``as_json``); returns it succeeded.

    Raises
    ------
    CommandError : the job failed, in one line (exit 1), or was stopped with Ctrl-C (exit 130).
    """
    try:
        with _terminate_interrupts(), progress_bar(quiet=as_json) as on_progress:
            return run_now(kind, dataset_id=dataset_id, params=params, on_progress=on_progress)
    except JobError as error:
        raise CommandError(" ".join(str(error).split())) from error
    except KeyboardInterrupt as error:
        raise CommandError(f"{registry.title(kind)} was stopped.", returncode=130) from error
