"""Children of ``manage.py up`` notice when it is gone, even when it was killed hard."""

from __future__ import annotations

import logging
import os
import threading
import time

import psutil

# Set by `up` for its children: "<process id>:<when it started>".
VARIABLE = "HOSHINA_PARENT"

log = logging.getLogger(__name__)


def describe(pid: int | None = None) -> str:
    """A process, so that a later one with the same number isn't taken for it."""
    process = psutil.Process(pid)
    return f"{process.pid}:{process.create_time():.0f}"


def lives(description: str) -> bool:
    """Whether the process that :func:`describe` named still runs."""
    pid, _, started = description.partition(":")
    try:
        process = psutil.Process(int(pid))
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - float(started)) < 3
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def watch_parent() -> None:
    """In a child of ``up``: ends this process soon after its parent. Elsewhere: nothing."""
    parent = os.environ.pop(VARIABLE, "")  # popped: what a child starts itself is the child's to stop
    if parent:
        threading.Thread(target=_watch, args=(parent,), name="lifeline", daemon=True).start()


def _watch(parent: str) -> None:
    while lives(parent):
        time.sleep(0.5)
    log.warning("The process that started this one is gone; stopping.")
    from hoshina.jobs.caretaker import leave

    leave()
