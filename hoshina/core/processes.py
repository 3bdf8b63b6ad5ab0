"""Identify processes by id and start time, because the system reuses process ids."""

from __future__ import annotations

import psutil


def describe(pid: int | None = None) -> str:
    """Return ``<process id>:<start time in seconds>`` of a process, by default this one."""
    process = psutil.Process(pid)
    return f"{process.pid}:{int(process.create_time())}"


def lives(description: str) -> bool:
    """Return whether the process that :func:`describe` named still runs."""
    pid, _, started = description.partition(":")
    if not (pid.isdigit() and started.isdigit()):
        return False
    try:
        process = psutil.Process(int(pid))
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # The boot time that the system reports may change by a second or two when its clock is set.
        return abs(process.create_time() - int(started)) <= 3
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
