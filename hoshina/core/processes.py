"""Processes, told apart for certain: a number is given again to a later process, its start time isn't."""

from __future__ import annotations

import psutil


def describe(pid: int | None = None) -> str:
    """``<process id>:<second of its start>`` of a process, this one by default."""
    process = psutil.Process(pid)
    return f"{process.pid}:{int(process.create_time())}"


def lives(description: str) -> bool:
    """Whether the process that :func:`describe` named still runs."""
    pid, _, started = description.partition(":")
    if not (pid.isdigit() and started.isdigit()):
        return False
    try:
        process = psutil.Process(int(pid))
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # The system's idea of its boot time may move by a second or two when its clock is set.
        return abs(process.create_time() - int(started)) <= 3
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
