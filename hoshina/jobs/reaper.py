"""Run beside the jobs of every worker: record that it is alive, reap jobs of dead workers, and stop in time.

Connected to Celery's signals, so that it works however a worker is started.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from typing import Any

from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import connections

from hoshina.jobs import beat_process, lifecycle, presence, upkeep
from hoshina.jobs.runner import is_busy, stopping

log = logging.getLogger(__name__)

_ended = threading.Event()
# Kept, so that the pipe to it stays open while this process lives.
_beats: list[subprocess.Popen[bytes]] = []


def _care(queues: str) -> None:
    try:
        while True:
            presence.say_alive(queues)
            lifecycle.take_care()
            upkeep.run_if_due()
            if _ended.wait(settings.JOB_HEARTBEAT):
                break
    finally:
        connections.close_all()


def _care_for_ever(queues: str) -> None:
    """Run the reaper; on a database error, wait and continue."""
    while not _ended.is_set():
        try:
            _care(queues)
        except AnyDatabaseError as error:
            log.warning("The reaper could not reach the database, trying again: %s", error)
            _ended.wait(1)


@worker_init.connect
def _silence(**_: Any) -> None:
    """Clear the state that an earlier worker of this process left."""
    stopping.clear()
    _ended.clear()


@worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:
    queues = ",".join(sorted(sender.app.amqp.queues.consume_from))
    threading.Thread(target=_care_for_ever, args=(queues,), name="reaper", daemon=True).start()
    if settings.BROKER_URL:  # with the embedded broker, others look this process up
        _beats.append(beat_process.start(presence.me()))


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Ask the running job to stop; put it back into the queue if it does not (in a long native call)."""
    stopping.set()
    threading.Thread(target=leave, args=(settings.JOB_GRACE,), name="grace", daemon=True).start()


@worker_shutdown.connect
def _end(**_: Any) -> None:
    _ended.set()
    _stop_beats()
    _sign_off()


def _stop_beats() -> None:
    """End the heartbeats first, so that none arrives after the worker has signed off."""
    for process in _beats:
        process.kill()
        process.wait()
    _beats.clear()


def _sign_off() -> None:
    try:
        presence.say_gone()
    except AnyDatabaseError as error:
        log.warning("The worker could not be deregistered: %s", error)


def leave(grace: float = 0.0) -> None:
    """End this process once it is idle, or after ``grace`` seconds; jobs that still run return to the queue.

    Celery's own shutdown takes seconds even when there is nothing to wait for.
    """
    until = time.monotonic() + grace
    while is_busy() and time.monotonic() < until:
        time.sleep(0.02)
    last = threading.Timer(5, os._exit, args=(1,))  # whatever happens to the database
    last.daemon = True
    last.start()
    try:
        lifecycle.give_back_all()  # including a job that was claimed a moment ago and has not started
    except AnyDatabaseError as error:
        log.warning("The running job could not be requeued; that happens when its heartbeats time out: %s", error)
    finally:
        _ended.set()  # otherwise the reaper would sign on again
        _stop_beats()
        _sign_off()
        os._exit(0)
