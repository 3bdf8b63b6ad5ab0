"""Move jobs from state to state, each time by one conditional UPDATE: the loser of a race changes 0 rows."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error as AnyDatabaseError
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet

from hoshina.core.errors import Refusal
from hoshina.jobs import clock, notify, registry
from hoshina.jobs.errors import ActiveElsewhere, Cancelled, Stopping, Superseded
from hoshina.jobs.models import Chunk, Job
from hoshina.jobs.presence import alive, is_surely_alive, is_surely_dead, me
from hoshina.jobs.runner import OnProgress, Run, failure, heartbeat, running

log = logging.getLogger(__name__)

State = Job.State
_cared_at = 0.0
LOST = "The worker that ran this stopped."
SILENT = "The worker that ran this has stopped responding."
LOST_HINT = "Start it again."


# -- Queueing -------------------------------------------------------------------------------------
def enqueue(
    kind: str, *, dataset_id: int | None = None, params: dict[str, Any] | None = None, user: User | None = None
) -> Job:
    """Return a new queued job, or the active one with the same key. Workers are notified after the commit."""
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
        except IntegrityError:  # another process was faster; its job may even have ended by now
            continue
    raise Refusal(f"{spec.title} could not be queued.", "Try again.")


def tell_broker(job: Job) -> bool:
    """Notify workers of a queued job. Return False if the broker is away; ``sent_at`` then stays empty."""
    if not notify.send_run_job(job):
        return False
    Job.objects.filter(pk=job.pk).update(sent_at=clock.now())  # it may be running by now
    return True


def _claim_fields() -> dict[str, Any]:
    now = clock.now()
    return {"state": State.RUNNING, "worker": me(), "started_at": now, "heartbeat_at": now}


def claim(pk: UUID | str) -> Job | None:
    """Claim a queued job for this process. Return None if it is no longer queued."""
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
    """Run a job in this process, as commands do. A queued job with the same key and parameters is taken over.

    Raises Refusal if the job failed, was cancelled, or is active in another process.
    """
    reap()
    job, made = _find_or_make(kind, dataset_id, params or {}, **_claim_fields(), attempts=1)
    if not made:
        claimed = claim(job.pk) if job.params == (params or {}) else None
        if claimed is None:
            raise ActiveElsewhere(
                f"{registry.described(kind).title} is already {job.get_state_display().lower()} in another process.",
                "Wait for it, or cancel it on the Jobs page.",
            )
        job = claimed
    cause = execute(job, on_progress=on_progress)
    title = registry.described(kind).title
    if job.state == State.SUCCEEDED:
        return job
    if job.state == State.CANCELLED:
        raise Refusal(f"{title} was cancelled.") from cause
    if job.is_active:
        raise Refusal(f"{title} continues in another process.", "See the Jobs page.") from cause
    raise Refusal(job.error or LOST, job.hint) from cause


# -- Running ----------------------------------------------------------------------------------------
def execute(
    job: Job, *, on_progress: OnProgress | None = None, must_give_way: Callable[[], bool] | None = None
) -> BaseException | None:
    """Run a job that this process claimed and record how it ended. Return the exception it raised, or None."""
    run = Run(job, on_progress=on_progress, must_give_way=must_give_way)
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
    """Call the job's function and record how it ended. Return the exception it raised, or None."""
    job = run.job
    try:
        spec = registry.get(job.kind)
        # Converted here, so that a result that no database accepts fails this job with a message.
        result = json.loads(json.dumps(spec.function(run), allow_nan=False))
        _end(run, State.SUCCEEDED, result=result, error="", stage="", done=job.done, total=job.total)
    except (Cancelled, KeyboardInterrupt) as error:
        _end(run, State.CANCELLED)
        return error
    except (Stopping, SystemExit) as error:
        give_back(job)
        return error
    except Superseded as error:
        return error
    except (OperationalError, InterfaceError) as error:
        if job.attempts >= settings.JOB_ATTEMPTS or not registry.get(job.kind).restartable:
            _end(run, State.FAILED, **failure(job, error))
        else:  # an outage of the database, which is not the job's fault; counted, in case it is not an outage
            log.warning("The database failed during %s, which returns to the queue: %s", job, error)
            _update(run, lambda: {"state": State.QUEUED, "worker": "", "sent_at": None, "heartbeat_at": None})
        return error
    except Exception as error:  # noqa: BLE001 - the job says it
        _end(run, State.FAILED, **failure(job, error))
        return error
    return None


def _end(run: Run, state: str, **fields: Any) -> None:
    _update(run, lambda: {"state": state, "finished_at": clock.now(), **fields})


def _update(run: Run, fields: Callable[[], dict[str, Any]]) -> None:
    """Update the run's job unless another process took it over. Retry for a minute while the database is away."""
    until = time.monotonic() + 60
    while True:
        try:
            run.held().update(**fields())
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block or time.monotonic() > until:
                raise
            log.warning("The end of %s could not be saved, trying again", run.job, exc_info=True)
            connection.close()
            time.sleep(1)
        else:
            return


def cancel(job: Job, reason: str = "") -> Job:
    """Cancel a queued job at once and ask a running one to stop. Leave a job that ended as it is.

    ``reason`` is shown with the job, for one that no person cancelled.
    """
    now = clock.now()
    queued = Job.objects.filter(pk=job.pk, state=State.QUEUED)
    if not queued.update(state=State.CANCELLED, finished_at=now, error=reason):
        Job.objects.filter(pk=job.pk, state=State.RUNNING).update(cancel_requested=True, error=reason)
    job.refresh_from_db()
    return job


def cancel_all(
    jobs: QuerySet[Job], check: Callable[[], None], *, reason: str = "", patience: float = 60.0
) -> Job | None:
    """Cancel the active ones of ``jobs`` and wait until they end; return one that has not after ``patience`` seconds.

    ``check`` is called while waiting and may raise what stops the caller.
    """
    until = time.monotonic() + patience
    while active := list(jobs.filter(state__in=Job.ACTIVE)):
        for job in active:
            cancel(job, reason)
        if time.monotonic() > until:
            return active[0]
        check()
        time.sleep(0.1)
    return None


def retry(job: Job, user: User | None = None) -> Job:
    """Queue a job like one that failed, was cancelled or lost. Return any other job unchanged."""
    if job.is_active or job.state == State.SUCCEEDED:
        return job
    return enqueue(job.kind, dataset_id=job.dataset_id, params=job.params, user=user)


# -- Dead workers and lost messages -------------------------------------------------------------------
def reap(*, by_silence: bool = True) -> int:
    """Queue or end running jobs whose worker died. Return their number. Cheap when no job runs.

    A process that is alive on this machine keeps its jobs, however long a native call keeps it from sending
    heartbeats. Without ``by_silence``, only processes known to be gone count as dead.
    """
    since = clock.now() - timedelta(seconds=settings.JOB_STALE)
    n_reaped = 0
    for job in Job.objects.filter(state=State.RUNNING):
        if is_surely_dead(job.worker):
            n_reaped += _end_or_requeue(job, hint=LOST_HINT)
        elif by_silence and _is_silent(job, since):
            n_reaped += _end_or_requeue(job, error=SILENT, hint=LOST_HINT)
    return n_reaped


def _is_silent(job: Job, since: datetime) -> bool:
    """Return whether a running job has sent no heartbeat since ``since`` although it should have."""
    if job.worker == me():  # this process knows what it runs; a job whose end it could not save is not among them
        return job.pk not in running and job.started_at is not None and job.started_at < since
    return (job.heartbeat_at is None or job.heartbeat_at < since) and not is_surely_alive(job.worker)


def give_back(job: Job) -> None:
    """Put a job back into the queue because this process stops; the attempt does not count."""
    _end_or_requeue(job, counted=False, hint=LOST_HINT)


def give_back_all(worker: str | None = None) -> None:
    """Put back all jobs and chunks of a process (by default this one), which stops or is known to be dead."""
    name = worker or me()
    for job in Job.objects.filter(state=State.RUNNING, worker=name):
        give_back(job)
    Chunk.objects.filter(worker=name, done=False).update(worker="", heartbeat_at=None)


def _end_or_requeue(job: Job, *, counted: bool = True, error: str = LOST, hint: str) -> bool:
    """End a job whose run is over, or queue it again, unless its row changed since ``job`` was read."""
    now = clock.now()
    held = Job.objects.filter(pk=job.pk, state=State.RUNNING, worker=job.worker, attempts=job.attempts)
    if counted:  # a heartbeat since then means that it is alive
        held = held.filter(Q(heartbeat_at=job.heartbeat_at))
    if held.filter(cancel_requested=True).update(state=State.CANCELLED, finished_at=now):
        return True
    spec = registry.find(job.kind)
    if spec is None or not spec.restartable:
        return bool(held.update(state=State.LOST, finished_at=now, error=error, hint=hint))
    if counted and job.attempts >= settings.JOB_ATTEMPTS:
        message = f"{error} It was tried {job.attempts} times."
        return bool(held.update(state=State.LOST, finished_at=now, error=message, hint=hint))
    attempts = job.attempts if counted else max(job.attempts - 1, 0)
    if not held.update(state=State.QUEUED, worker="", sent_at=None, heartbeat_at=None, attempts=attempts):
        return False
    Chunk.objects.filter(job=job, worker=job.worker, done=False).update(worker="", heartbeat_at=None)
    transaction.on_commit(lambda: tell_broker(job))
    return True


def resend() -> int:
    """Notify workers again of queued jobs that an idle worker should have taken. Return their number.

    A message is lost when the worker that took it was killed, or when the broker was away or lost its data.
    """
    now = clock.now()
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


def is_kept_waiting(queue: str) -> bool:
    """Return whether a job of the queue waits that gives way to none, and no worker is free for it."""
    waiting = Job.objects.filter(queue=queue, state=State.QUEUED, sent_at__isnull=False)
    return waiting.exclude(kind__in=registry.kinds_that_give_way()).exists() and not alive(queue) - _busy()


def _busy() -> set[str]:
    running = Job.objects.filter(state=State.RUNNING).values_list("worker", flat=True)
    helping = Chunk.objects.filter(done=False, job__state=State.RUNNING).exclude(worker="")
    return {*running, *helping.values_list("worker", flat=True).distinct()}


def forget_old() -> None:
    """Delete chunks of jobs that ended, and quiet jobs, a day after their end."""
    ended = Q(finished_at__lt=clock.now() - timedelta(days=1))
    Chunk.objects.filter(job__in=Job.objects.filter(ended)).delete()
    Job.objects.filter(ended, kind__in=registry.quiet_kinds()).delete()


def take_care() -> None:
    """Reap jobs of dead workers and resend lost messages; on a database error, wait for the next call."""
    global _cared_at
    # After a computer's sleep no process has sent a heartbeat for long; those alive get time to send one.
    was_away = time.time() - _cared_at > settings.JOB_STALE
    _cared_at = time.time()
    try:
        reap(by_silence=not was_away)
        resend()
    except AnyDatabaseError as error:
        log.warning("The maintenance of jobs failed, trying again: %s", error)
        connection.close()
