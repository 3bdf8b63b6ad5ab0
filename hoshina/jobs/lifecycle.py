"""A job's life. Every transition is one conditional UPDATE, so the loser of a race sees 0 rows."""

from __future__ import annotations

import json
import logging
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error as AnyDatabaseError
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from hoshina.jobs import notify, registry
from hoshina.jobs.errors import ActiveElsewhere, Cancelled, JobError, Stopping, Superseded
from hoshina.jobs.models import Chunk, Job
from hoshina.jobs.presence import is_surely_alive, is_surely_dead, me
from hoshina.jobs.runner import OnProgress, Run, heartbeat, running

log = logging.getLogger(__name__)

State = Job.State
_cared_at = 0.0
LOST = "The worker that ran this stopped."
SILENT = "The worker that ran this has stopped responding."
LOST_HINT = "Start it again."


# -- Beginning ------------------------------------------------------------------------------------
def enqueue(
    kind: str,
    *,
    dataset_id: int | None = None,
    params: dict[str, Any] | None = None,
    user: User | None = None,
) -> Job:
    """A queued job of that kind, or the active one with the same key. The broker is told after the commit."""
    job, made = _find_or_make(kind, dataset_id, params or {}, created_by=user)
    if made:
        transaction.on_commit(lambda: tell_broker(job))
    return job


def _find_or_make(kind: str, dataset_id: int | None, params: dict[str, Any], **fields: Any) -> tuple[Job, bool]:
    spec = registry.get(kind)
    key = spec.key_for(dataset_id, params)
    for _ in range(5):
        active = Job.objects.filter(key=key, state__in=Job.ACTIVE).first()
        if active is not None:
            return active, False
        try:
            with transaction.atomic():
                return Job.objects.create(
                    kind=kind, queue=spec.queue, dataset_id=dataset_id, params=params, key=key, **fields
                ), True
        except IntegrityError:  # somebody else was faster; theirs may even have ended by now
            continue
    raise JobError(f"{spec.title} could not be queued.", "Try again.")


def tell_broker(job: Job) -> bool:
    """Sends the news of a queued job. When the broker is away the job stays queued and ``sent_at`` empty."""
    if not notify.send_run_job(job):
        return False
    Job.objects.filter(pk=job.pk).update(sent_at=timezone.now())  # it may be running by now
    return True


def _claim_fields() -> dict[str, Any]:
    now = timezone.now()
    return {"state": State.RUNNING, "worker": me(), "started_at": now, "heartbeat_at": now}


def claim(pk: UUID | str) -> Job | None:
    """Takes a queued job for this process; ``None`` when it is not queued any more."""
    taken = Job.objects.filter(pk=pk, state=State.QUEUED).update(
        **_claim_fields(), attempts=F("attempts") + 1, stage="", done=0, total=0, stage_started_at=None
    )
    return Job.objects.get(pk=pk) if taken else None


def run_now(
    kind: str,
    *,
    dataset_id: int | None = None,
    params: dict[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Job:
    """Runs a job in this process, as commands do; takes over a queued one with the same key and parameters.

    Raises
    ------
    JobError : it failed, was cancelled, or the same job is active elsewhere.
    """
    reap()
    job, made = _find_or_make(kind, dataset_id, params or {}, **_claim_fields(), attempts=1)
    if not made:
        claimed = claim(job.pk) if job.params == (params or {}) else None
        if claimed is None:
            raise ActiveElsewhere(
                f"{registry.title(kind)} is already {job.get_state_display().lower()} in another process.",
                "Wait for it, or cancel it on the Jobs page.",
            )
        job = claimed
    cause = execute(job, on_progress=on_progress)
    if job.state == State.SUCCEEDED:
        return job
    if job.state == State.CANCELLED:
        raise JobError(f"{registry.title(kind)} was cancelled.") from cause
    if job.is_active:
        raise JobError(f"{registry.title(kind)} went on in another process.", "See the Jobs page.") from cause
    raise JobError(job.error or LOST, job.hint) from cause


# -- Running and ending -----------------------------------------------------------------------------
def execute(job: Job, *, on_progress: OnProgress | None = None) -> BaseException | None:
    """Runs a job that this process claimed and writes down how it ended; returns what it raised."""
    run = Run(job, on_progress=on_progress)
    cause: BaseException | None = None
    running.add(job.pk)
    try:
        with heartbeat(run.beat):
            cause = _execute(run)
    finally:
        running.discard(job.pk)
    job.refresh_from_db()
    if on_progress is not None:
        on_progress(job)
    if isinstance(cause, KeyboardInterrupt | SystemExit):
        raise cause
    return cause


def _execute(run: Run) -> BaseException | None:
    """Run the job's function and write down how it ended. Return what it raised."""
    job = run.job
    cause: BaseException | None = None
    try:
        spec = registry.get(job.kind)
        # Through JSON and back here, so that a result no database takes fails this job with words.
        result = json.loads(json.dumps(spec.function(run), allow_nan=False))
        _end(run, State.SUCCEEDED, result=result, stage="", done=job.done, total=job.total)
    except (Cancelled, KeyboardInterrupt) as error:
        cause = error
        _end(run, State.CANCELLED)
    except (Stopping, SystemExit) as error:
        cause = error
        give_back(job)
    except Superseded as error:
        cause = error
    except JobError as error:
        cause = error
        _end(run, State.FAILED, error=_text(error.message), hint=_text(error.hint))
    except Exception as error:
        cause = error
        log.exception("%s failed", job)
        _end(run, State.FAILED, error=_text(f"{type(error).__name__}: {error}"))
    return cause


def _text(words: str) -> str:
    """Fit for any database: PostgreSQL takes no NUL."""
    return words.replace("\x00", "")[:4000]


def _end(run: Run, state: str, **fields: Any) -> None:
    """Ends the run's job unless it was taken over; asks a database that is away or busy for a minute."""
    until = time.monotonic() + 60
    while True:
        try:
            run.held().update(state=state, finished_at=timezone.now(), **fields)
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block or time.monotonic() > until:
                raise
            log.warning("The end of %s could not be saved, trying again", run.job, exc_info=True)
            connection.close()
            time.sleep(1)
        else:
            return


def cancel(job: Job) -> Job:
    """Cancels a queued job at once; asks a running one to stop. Nothing happens to a job that ended."""
    now = timezone.now()
    if not Job.objects.filter(pk=job.pk, state=State.QUEUED).update(state=State.CANCELLED, finished_at=now):
        Job.objects.filter(pk=job.pk, state=State.RUNNING).update(cancel_requested=True)
    job.refresh_from_db()
    return job


def retry(job: Job, user: User | None = None) -> Job:
    """Queues a job like one that failed, was cancelled or lost; any other comes back as it is."""
    if job.is_active or job.state == State.SUCCEEDED:
        return job
    return enqueue(job.kind, dataset_id=job.dataset_id, params=job.params, user=user)


# -- Deaths -------------------------------------------------------------------------------------------
def reap(*, by_silence: bool = True) -> int:
    """Find running jobs whose worker died, and queue or end them. Return how many. Cheap if none runs.

    A process that is alive on this machine keeps its jobs, however long a native call silences it. Without
    ``by_silence`` only those count as dead whose process is known to be gone.
    """
    since = timezone.now() - timedelta(seconds=settings.JOB_STALE)
    found = 0
    for job in Job.objects.filter(state=State.RUNNING):
        if is_surely_dead(job.worker):
            found += _bury(job, hint=LOST_HINT)
        elif by_silence and _is_silent(job, since):
            found += _bury(job, error=SILENT, hint=LOST_HINT)
    return found


def _is_silent(job: Job, since: datetime) -> bool:
    """Return whether nothing was heard of a running job after ``since`` although it should have been."""
    if job.worker == me():  # this process knows what it runs: a job whose end it could not save is not among it
        return job.pk not in running and job.started_at is not None and job.started_at < since
    return (job.heartbeat_at is None or job.heartbeat_at < since) and not is_surely_alive(job.worker)


def give_back(job: Job) -> None:
    """This process stops before the job's end: back to the queue, uncounted, if it is restartable."""
    _bury(job, counted=False, hint=LOST_HINT)


def give_back_all(worker: str | None = None) -> None:
    """Gives back all that a process (this one by default) holds: it stops now, or is known to be dead."""
    name = worker or me()
    for job in Job.objects.filter(state=State.RUNNING, worker=name):
        give_back(job)
    Chunk.objects.filter(worker=name, done=False).update(worker="", heartbeat_at=None)


def _bury(job: Job, *, counted: bool = True, error: str = LOST, hint: str) -> bool:
    """End or re-queue a job whose run is over, unless the row changed since ``job`` was read."""
    now = timezone.now()
    held = Job.objects.filter(pk=job.pk, state=State.RUNNING, worker=job.worker, attempts=job.attempts)
    if counted:  # a heartbeat in between means that it lives
        held = held.filter(Q(heartbeat_at=job.heartbeat_at))
    if held.filter(cancel_requested=True).update(state=State.CANCELLED, finished_at=now):
        return True
    spec = registry.find(job.kind)
    if spec is None or not spec.restartable:
        return bool(held.update(state=State.LOST, finished_at=now, error=error, hint=hint))
    if counted and job.attempts >= settings.JOB_ATTEMPTS:
        words = f"{error} It was tried {job.attempts} times."
        return bool(held.update(state=State.LOST, finished_at=now, error=words, hint=hint))
    attempts = job.attempts if counted else max(job.attempts - 1, 0)
    if not held.update(state=State.QUEUED, worker="", sent_at=None, heartbeat_at=None, attempts=attempts):
        return False
    Chunk.objects.filter(job=job, worker=job.worker, done=False).update(worker="", heartbeat_at=None)
    transaction.on_commit(lambda: tell_broker(job))
    return True


def resend() -> int:
    """Tells the broker again of queued jobs that nobody took although somebody could; returns how many.

    A message is gone when the worker that took it was killed, or when the broker was away or lost its memory.
    """
    from hoshina.jobs.presence import alive

    now = timezone.now()
    before = now - timedelta(seconds=settings.JOB_RESEND)
    late = Job.objects.filter(Q(sent_at=None) | Q(sent_at__lt=before), state=State.QUEUED)
    busy: set[str] | None = None
    sent = 0
    for job in late.order_by("created_at")[:100]:
        if job.sent_at is not None:
            if busy is None:
                busy = _busy()
            if not alive(job.queue) - busy:
                continue
        if not tell_broker(job):
            break
        sent += 1
    return sent


def _busy() -> set[str]:
    running = Job.objects.filter(state=State.RUNNING).values_list("worker", flat=True)
    helping = Chunk.objects.filter(done=False, job__state=State.RUNNING).exclude(worker="")
    return {*running, *helping.values_list("worker", flat=True).distinct()}


def forget_old() -> None:
    """Deletes what nobody will ask for: shares of jobs that ended, and quiet jobs, a day later."""
    ended = Q(finished_at__lt=timezone.now() - timedelta(days=1))
    Chunk.objects.filter(job__in=Job.objects.filter(ended)).delete()
    Job.objects.filter(ended, kind__in=registry.quiet_kinds()).delete()


def take_care() -> None:
    """What a reaper does every few seconds; a database that is busy or away is left for the next time."""
    global _cared_at
    # After a computer's sleep everybody was silent, also those who live: they get a moment to say so.
    was_away = time.time() - _cared_at > settings.JOB_STALE
    _cared_at = time.time()
    try:
        reap(by_silence=not was_away)
        resend()
    except AnyDatabaseError as error:
        log.warning("Looking after the jobs failed, trying again: %s", error)
        connection.close()
