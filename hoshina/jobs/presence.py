"""Who runs jobs: this process's name, and which workers said lately that they live."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from functools import cache

import psutil
from django.conf import settings
from django.utils import timezone

from hoshina.jobs.models import Worker


@cache
def _name_of(pid: int) -> str:
    return f"{socket.gethostname()[:100]}:{pid}:{int(psutil.Process(pid).create_time())}"


def me() -> str:
    """This process, named so that no other one past or future is: host, process id, second of its start."""
    return _name_of(os.getpid())


def is_surely_dead(worker: str) -> bool:
    """Whether ``worker`` was a process of this machine that is gone.

    Only claimed with the embedded broker, where host names tell machines apart; containers beside a Redis
    may share one host name.
    """
    host, _, rest = worker.rpartition(":")[0].rpartition(":")
    started = worker.rpartition(":")[2]
    if (
        settings.BROKER_URL
        or host != socket.gethostname()[:100]
        or not (rest.isdigit() and started.isdigit())
    ):
        return False
    try:
        process = psutil.Process(int(rest))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        # The system's idea of its boot time may move by a second or two when its clock is set.
        return abs(process.create_time() - int(started)) > 3
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def say_alive(queues: str) -> None:
    """Writes down that this worker lives and serves ``queues`` (comma-separated)."""
    Worker.objects.update_or_create(name=me(), defaults={"queues": queues, "seen_at": timezone.now()})


def say_gone(name: str | None = None) -> None:
    """Strikes a worker off the list: this one by default."""
    Worker.objects.filter(name=name or me()).delete()


def forget_old() -> None:
    """Strikes off the workers that were not seen for a day."""
    Worker.objects.filter(seen_at__lt=timezone.now() - timedelta(days=1)).delete()


def alive(queue: str) -> set[str]:
    """Names of the workers that serve ``queue`` and were seen within ``settings.JOB_STALE`` seconds."""
    since = timezone.now() - timedelta(seconds=settings.JOB_STALE)
    return {
        worker.name
        for worker in Worker.objects.filter(seen_at__gte=since)
        if queue in worker.queues.split(",") and not is_surely_dead(worker.name)
    }


def worker_alive(queue: str) -> bool:
    """Whether somebody would take a job of ``queue``."""
    return bool(alive(queue))
