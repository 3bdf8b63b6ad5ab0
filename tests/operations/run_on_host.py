"""Run a management command as a process of another host: with that host's name, and its connection to the store.

Its clock is set by libfaketime, which ``tests.operations.hosts`` preloads. Only operations that Python reports to
auditors are slow: opening, listing, creating, renaming and removing files, but not ``stat``.
"""

import os
import select
import socket
import sys
import time
from typing import Any

FILE_OPERATIONS = {"open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir"}


def slow_down(folder: str, seconds: float, hanging: str) -> None:
    """Let operations on files in a folder take some time, and forever while the file ``hanging`` exists."""

    def wait(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in FILE_OPERATIONS or not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if os.fsdecode(arguments[0]).startswith(folder):
            sleep(seconds)
            while os.access(hanging, os.F_OK):
                sleep(0.05)

    sys.addaudithook(wait)


def sleep(seconds: float) -> None:
    """Wait. Python's own function passes an absolute time, which libfaketime (0.9.10) takes for a faked one."""
    select.select([], [], [], seconds)


if __name__ == "__main__":
    time.sleep = sleep
    name = os.environ["TEST_HOST"]
    socket.gethostname = lambda: name
    if seconds := float(os.environ["TEST_SLOW_SECONDS"]):
        slow_down(os.environ["AL_STORE_DIR"], seconds, os.environ["TEST_HANGING"])
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *sys.argv[1:]])
