"""What every worker process does beside its jobs: say that it lives, look after jobs of dead workers, and
stop in time. Connected to Celery's signals, so that any way of starting a worker has it."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import connections

from hoshina.jobs import life, presence
from hoshina.jobs.runner import stopping

log = logging.getLogger(__name__)

_ended = threading.Event()


def _care(queues: str) -> None:
    try:
        presence.forget_old()
        life.forget_old()
        while True:
            presence.say_alive(queues)
            life.take_care()
            if _ended.wait(settings.JOB_HEARTBEAT):
                break
    finally:
        connections.close_all()


def _care_for_ever(queues: str) -> None:
    """The caretaker outlives a database that is busy or away."""
    while not _ended.is_set():
        try:
            _care(queues)
        except AnyDatabaseError as error:
            log.warning("The caretaker could not reach the database, trying again: %s", error)
            _ended.wait(1)


@worker_init.connect
def _silence(**_: Any) -> None:
    """A process that never was a worker must not be stopped by an earlier one's end (tests start several)."""
    stopping.clear()
    _ended.clear()


@worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:
    queues = ",".join(sorted(sender.app.amqp.queues.consume_from))
    threading.Thread(target=_care_for_ever, args=(queues,), name="caretaker", daemon=True).start()


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Asks the running job to stop; one that doesn't listen (a long native call) is given back for it."""
    stopping.set()
    threading.Thread(target=leave, args=(settings.JOB_GRACE,), name="grace", daemon=True).start()


@worker_shutdown.connect
def _end(**_: Any) -> None:
    _ended.set()
    try:
        presence.say_gone()
    except AnyDatabaseError as error:
        log.warning("Could not sign off: %s", error)


def leave(grace: float = 0.0) -> None:
    """Ends this process after ``grace`` seconds, giving back what it runs; 5 s later whatever happens."""
    if grace and _ended.wait(grace):
        return
    last = threading.Timer(5, os._exit, args=(1,))
    last.daemon = True
    last.start()
    try:
        life.give_back_all()
        presence.say_gone()
    except AnyDatabaseError as error:
        log.warning("Could not give back the running job, its silence will tell: %s", error)
    finally:
        os._exit(1)
