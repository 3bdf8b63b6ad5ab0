"""Send messages about jobs to workers. Tasks are named, so that the sender need not import them."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings

from hoshina.jobs.models import Job

log = logging.getLogger(__name__)

RUN_JOB = "hoshina.jobs.run_job"
HELP_JOB = "hoshina.jobs.help_job"


def send_run_job(job: Job) -> bool:
    """Announce a queued job. Return whether the broker accepted the message."""
    return _send(RUN_JOB, job)


def send_help_job(job: Job) -> bool:
    """Ask idle workers for help. Return whether the broker accepted the message, which expires before the next."""
    return _send(HELP_JOB, job, expires=settings.JOB_HELP)


def _send(task: str, job: Job, **options: Any) -> bool:
    # Celery is slow to import, and the first page does without it.
    from kombu.exceptions import KombuError

    from hoshina.celery import app

    try:
        settings.BROKER_DIR.mkdir(parents=True, exist_ok=True)
        app.send_task(task, args=(str(job.pk),), queue=job.queue, retry=False, ignore_result=True, **options)
    except (KombuError, OSError) as error:
        log.warning("The broker cannot be reached; %s waits: %s", job, error)
        return False
    return True
