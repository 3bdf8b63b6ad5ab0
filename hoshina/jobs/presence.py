"""Name this process and know which workers are alive."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from functools import cache

from django.conf import settings
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from hoshina.core.parent_watch import is_child_of_up
from hoshina.core.processes import describe, lives
from hoshina.jobs import clock
from hoshina.jobs.models import Worker


@cache
def _name_of(pid: int) -> str:
    return f"{host()}:{describe(pid)}"


def host() -> str:
    """Return the name of this machine or container."""
    return socket.gethostname()[:100]


def me() -> str:
    """Return a name that no other process ever has: host, process id and start time."""
    return _name_of(os.getpid())


def is_surely_dead(worker: str) -> bool:
    """Return whether ``worker`` was a process of this machine that is gone.

    False whenever Redis is used: containers may share a host name, so it does not identify a machine.
    """
    name, _, process = worker.partition(":")
    return not settings.BROKER_URL and name == host() and not lives(process)


def is_surely_alive(worker: str) -> bool:
    """Return whether ``worker`` is a running process of this machine, however long ago its last heartbeat was.

    False whenever Redis is used, as in :func:`is_surely_dead`; there a separate process sends the heartbeats
    (``beat_process``).
    """
    name, _, process = worker.partition(":")
    return not settings.BROKER_URL and name == host() and lives(process)


def say_alive(queues: str) -> None:
    """Record that this worker is alive and serves ``queues`` (comma-separated)."""
    Worker.objects.update_or_create(name=me(), defaults={"queues": queues, "seen_at": clock.now()})


def say_gone(name: str | None = None) -> None:
    """Remove a worker (by default this one) from the list."""
    Worker.objects.filter(name=name or me()).delete()


def forget_old() -> None:
    """Remove the workers that sent no heartbeat for a day."""
    Worker.objects.filter(seen_at__lt=clock.now() - timedelta(days=1)).delete()


def alive(queue: str) -> set[str]:
    """Return the names of the workers that serve ``queue`` and are alive.

    Those are workers whose process runs on this machine, and others seen within ``settings.JOB_STALE`` seconds.
    """
    since = clock.now() - timedelta(seconds=settings.JOB_STALE)
    return {
        worker.name
        for worker in Worker.objects.all()
        if queue in worker.queues.split(",")
        and not is_surely_dead(worker.name)
        and (worker.seen_at >= since or is_surely_alive(worker.name))
    }


def seconds_since_seen(queue: str) -> float | None:
    """Return the seconds since the newest heartbeat of a worker of ``queue``; None without any."""
    ages = Worker.objects.annotate(age=ExpressionWrapper(Now() - F("seen_at"), DurationField()))
    seen = [worker.age.total_seconds() for worker in ages if queue in worker.queues.split(",")]
    return max(0.0, round(min(seen), 1)) if seen else None


def worker_alive(queue: str) -> bool:
    """Return whether a worker would take a job of ``queue``."""
    return bool(alive(queue))


def missing_worker_message(queue: str) -> str:
    """Return a message for people while no worker serves ``queue``, with what they can do about it."""
    if is_child_of_up():  # `up` starts and restarts workers, so there is nothing to do
        return f"The worker is starting. If this lasts, see {settings.STORE_DIR / 'logs' / f'worker-{queue}.log'}."
    return f"No worker is running: start one with hoshina worker {queue}."
