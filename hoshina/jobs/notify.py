"""Send messages about jobs to workers by the broker. Tasks are named, so that the sender need not import them."""

from __future__ import annotations

import logging
import os
from datetime import timedelta

from django.conf import settings

from hoshina.jobs import clock
from hoshina.jobs.models import Job

log = logging.getLogger(__name__)

RUN_JOB = "hoshina.jobs.run_job"
HELP_JOB = "hoshina.jobs.help_job"


def send_run_job(job: Job) -> bool:
    """Announce a queued job. Return whether the broker accepted the message."""
    return _send(RUN_JOB, job)


def send_help_job(job: Job) -> bool:
    """Ask idle workers for help. Return whether the broker accepted the message, which expires before the next.

    Celery's own expiry compares the clocks of two machines, so the message carries the time of the database.
    """
    until = clock.now() + timedelta(seconds=settings.JOB_HELP)
    return _send(HELP_JOB, job, until.isoformat())


def _send(task: str, job: Job, *more: str) -> bool:
    # Celery is slow to import, and the first page does not need it.
    from kombu.exceptions import KombuError

    from hoshina.celery import app

    try:
        if not settings.BROKER_URL:
            settings.BROKER_DIR.mkdir(parents=True, exist_ok=True)
        app.send_task(task, args=(str(job.pk), *more), queue=job.queue, retry=False, ignore_result=True)
    except (KombuError, OSError) as error:
        log.warning("The broker cannot be reached; %s waits: %s", job, error)
        return False
    return True


def broker_answers() -> bool:
    """Return whether Redis answers a ping, or the embedded broker's folder can be written."""
    if not settings.BROKER_URL:
        folder = settings.BROKER_DIR
        while not folder.exists():
            folder = folder.parent
        return folder.is_dir() and os.access(folder, os.W_OK)
    from redis import Redis
    from redis.exceptions import RedisError

    client = Redis.from_url(settings.BROKER_URL, socket_connect_timeout=1, socket_timeout=1)
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
    finally:
        client.close()
