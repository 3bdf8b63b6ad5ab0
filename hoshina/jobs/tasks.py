"""Define the two Celery tasks. A message only names a job; the job's row says whether there is work."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from hoshina.celery import app
from hoshina.jobs import clock, lifecycle, reaper, registry
from hoshina.jobs.chunks import help_with
from hoshina.jobs.models import Job
from hoshina.jobs.notify import HELP_JOB, RUN_JOB
from hoshina.jobs.runner import stopping

__all__ = ["help_job", "reaper", "run_job"]


@app.task(name=RUN_JOB, ignore_result=True)
def run_job(job_id: str) -> None:
    """Run a queued job, unless another worker took it or it was cancelled."""
    if stopping.is_set():  # other workers take it
        for job in Job.objects.filter(pk=job_id, state=Job.State.QUEUED):
            lifecycle.tell_broker(job)
        return
    claimed = lifecycle.claim(job_id)
    if claimed is None:
        return
    spec = registry.find(claimed.kind)
    gives_way = spec is not None and spec.gives_way
    lifecycle.execute(claimed, must_give_way=partial(lifecycle.is_kept_waiting, claimed.queue) if gives_way else None)


@app.task(name=HELP_JOB, ignore_result=True)
def help_job(job_id: str, until: str = "") -> None:
    """Help with the chunks of a job that runs elsewhere, unless that was asked too long ago.

    Messages of earlier versions have no time: they are old.
    """
    if not until or clock.now() > datetime.fromisoformat(until):
        return
    job = Job.objects.filter(pk=job_id, state=Job.State.RUNNING).first()
    if job is not None:
        help_with(job)
