"""Identify processes by id and start time, because the system reuses process ids."""

from __future__ import annotations

import os
import sys

import psutil
from django.conf import settings


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of the product in another Python process.

    ``-P`` keeps Python from importing files of the working directory, which may be a folder of the user's.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """Return this process's environment, in which another one finds the packages of a checkout too."""
    if settings.IS_INSTALLED:
        return dict(os.environ)
    checkout = str(settings.BASE_DIR)
    others = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder not in ("", checkout)]
    return os.environ | {"PYTHONPATH": os.pathsep.join([checkout, *others])}


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
