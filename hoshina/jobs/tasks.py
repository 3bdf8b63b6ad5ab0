"""The two Celery tasks. They only carry the news that a job exists; its row says whether there is work."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from django.conf import settings
from kombu.exceptions import KombuError

from hoshina.celery import app
from hoshina.jobs import caretaker, life
from hoshina.jobs.models import Job

log = logging.getLogger(__name__)

__all__ = ["caretaker", "help_job", "run_job", "send_help_job", "send_run_job"]


@app.task(name="hoshina.jobs.run_job", ignore_result=True)
def run_job(job_id: str) -> None:
    """Runs a queued job; nothing when another worker took it or it was cancelled."""
    job = life.claim(job_id)
    if job is not None:
        life.execute(job)


@app.task(name="hoshina.jobs.help_job", ignore_result=True)
def help_job(job_id: str) -> None:
    """Helps with the chunks of a job that runs elsewhere."""
    from hoshina.jobs.chunks import help_with

    job = Job.objects.filter(pk=job_id, state=Job.State.RUNNING).first()
    if job is not None:
        help_with(job)


def send_run_job(job: Job) -> bool:
    """Whether the broker took the news of a queued job."""
    return _send(run_job, job)


def send_help_job(job: Job) -> bool:
    """Whether the broker took the call for help, which is stale when the next one is due."""
    return _send(help_job, job, expires=settings.JOB_HELP)


def _send(task: Task[Any, Any], job: Job, **options: Any) -> bool:
    try:
        settings.BROKER_DIR.mkdir(parents=True, exist_ok=True)
        task.apply_async(args=(str(job.pk),), queue=job.queue, retry=False, ignore_result=True, **options)
    except (KombuError, OSError) as error:
        log.warning("The broker cannot be reached; %s waits: %s", job, error)
        return False
    return True
