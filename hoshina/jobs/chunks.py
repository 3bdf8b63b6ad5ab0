"""Split long jobs into chunks that any worker may take: more Celery workers, on any machine, make them faster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum

from hoshina.core.batches import batched
from hoshina.jobs import clock, notify, registry
from hoshina.jobs.errors import Cancelled, Superseded
from hoshina.jobs.models import Chunk, Job
from hoshina.jobs.presence import alive, is_surely_alive, me
from hoshina.jobs.runner import Run, failure, heartbeat, stopping


class ChunkRun(Run):
    """The run that a chunk's function sees.

    The progress of the job is computed from its finished chunks, so ``stage``, ``advance`` and ``progress`` only check
    for a cancellation here.
    """

    def stage(self, name: str, total: int = 0) -> None:
        self.check()

    def advance(self, n: int = 1) -> None:
        self.check()

    def progress(self, done: int, total: int | None = None) -> None:
        self.check()

    def held(self) -> QuerySet[Job]:
        """Return the running job, whichever worker holds it: a helper continues when the holder changes."""
        return Job.objects.filter(pk=self.job.pk, state=Job.State.RUNNING)

    def beat(self) -> None:
        Chunk.objects.filter(job=self.job, worker=me(), done=False).update(heartbeat_at=clock.now())

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if not self.held().filter(cancel_requested=False).exists():
            self._raise_reason()


def work_through(run: Run, ranges: Sequence[tuple[int, int]]) -> None:
    """Call the kind's ``chunk(run, start, stop)`` once for each range, here and in other workers.

    Finished chunks are stored: a job that is resumed does only the remaining ``ranges``. Returns when all chunks are
    done. The job's progress is the total length of the finished ranges. Raises what a chunk raised here, or
    Superseded if one failed in another worker, which has failed the job.
    """
    spec = registry.get(run.job.kind)
    if spec.chunk is None:
        raise TypeError(f"The job kind {spec.name!r} was registered without chunk=….")
    _prepare(run.job, ranges)
    total = sum(stop - start for start, stop in ranges)
    asked_at = float("-inf")
    with heartbeat(ChunkRun(run.job).beat):
        while True:
            run.progress(_finished(run.job), total)
            chunk = _take(run.job)
            if chunk is None:
                if not Chunk.objects.filter(job=run.job, done=False).exists():
                    break
                time.sleep(0.2)  # other workers have the last chunks
                continue
            if time.monotonic() - asked_at > settings.JOB_HELP:
                asked_at = time.monotonic()
                n_free = Chunk.objects.filter(job=run.job, done=False, worker="").count()
                for _ in range(min(n_free, len(alive(run.job.queue) - {me()}))):
                    if not notify.send_help_job(run.job):
                        break
            _do(run.job, spec, chunk)
    run.progress(total, total)


def help_with(job: Job) -> None:
    """Take chunks of a job that another worker runs until none is free or another job is queued."""
    spec = registry.get(job.kind)
    if spec.chunk is None or job.worker == me():
        return
    with heartbeat(ChunkRun(job).beat):
        while (
            not stopping.is_set()
            and not Job.objects.filter(queue=job.queue, state=Job.State.QUEUED).exists()
            and Job.objects.filter(pk=job.pk, state=Job.State.RUNNING, cancel_requested=False).exists()
        ):
            chunk = _take(job)
            if chunk is None:
                return
            try:
                _do(job, spec, chunk)
            except (Cancelled, Superseded):
                return
            except Exception as error:  # noqa: BLE001 - the job says it
                Job.objects.filter(pk=job.pk, state=Job.State.RUNNING).update(
                    state=Job.State.FAILED, finished_at=clock.now(), **failure(job, error)
                )
                return


def _prepare(job: Job, ranges: Sequence[tuple[int, int]]) -> None:
    wanted = set(ranges)
    if any(start >= stop for start, stop in wanted):
        raise ValueError("A range must not be empty.")
    with transaction.atomic():
        rows = Chunk.objects.filter(job=job).values_list("pk", "start", "stop")
        existing = {(start, stop): pk for pk, start, stop in rows}
        stale = [pk for span, pk in existing.items() if span not in wanted]
        for batch in batched(stale, 500):
            Chunk.objects.filter(pk__in=batch).delete()
        new = sorted(wanted - existing.keys())
        Chunk.objects.bulk_create([Chunk(job=job, start=a, stop=b) for a, b in new], batch_size=200)


def _finished(job: Job) -> int:
    found = Chunk.objects.filter(job=job, done=True).aggregate(n=Sum(F("stop") - F("start")))
    return int(found["n"] or 0)


def _take(job: Job) -> Chunk | None:
    """Claim the first free chunk, or one whose worker has stopped responding."""
    since = clock.now() - timedelta(seconds=settings.JOB_STALE)
    free = Chunk.objects.filter(Q(worker="") | Q(heartbeat_at__lt=since), job=job, done=False)
    silent = free.exclude(worker="").values_list("worker", flat=True).distinct()
    free = free.exclude(worker__in=[worker for worker in silent if worker != me() and is_surely_alive(worker)])
    while (chunk := free.order_by("start").first()) is not None:
        if free.filter(pk=chunk.pk).update(worker=me(), heartbeat_at=clock.now()):
            return chunk
    return None


def _do(job: Job, spec: registry.Kind, chunk: Chunk) -> None:
    """Do one claimed chunk; release it on failure."""
    claimed = Chunk.objects.filter(pk=chunk.pk, worker=me(), done=False)
    assert spec.chunk is not None
    try:
        spec.chunk(ChunkRun(job), chunk.start, chunk.stop)
    except BaseException:
        claimed.update(worker="", heartbeat_at=None)
        raise
    # It is done, whichever worker holds it now: a chunk counts once, even if two workers did it.
    Chunk.objects.filter(pk=chunk.pk, done=False).update(done=True, heartbeat_at=clock.now())
