"""Watch the parent process: children of ``hoshina up`` stop when it has ended, even if it was killed."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from hoshina.core.processes import lives

# Set by `up` for its children: "<process id>:<when it started>".
VARIABLE = "HOSHINA_PARENT"

log = logging.getLogger(__name__)

_is_child_of_up = False


def is_child_of_up() -> bool:
    """Return whether ``up`` started this process, and so the workers too."""
    return _is_child_of_up


def watch_parent(leave: Callable[[], None]) -> None:
    """Call ``leave`` soon after the parent is gone if this is a child of ``up``. Do nothing in other processes."""
    global _is_child_of_up
    parent = os.environ.pop(VARIABLE, "")  # popped: the processes that a child starts are its own to stop
    if parent:
        _is_child_of_up = True
        threading.Thread(target=_watch, args=(parent, leave), name="parent-watch", daemon=True).start()


def _is_alive(parent: str) -> bool:
    pid = parent.partition(":")[0]
    if sys.platform != "win32" and os.getppid() == int(pid):  # a process whose parent has ended gets another one
        return True
    return lives(parent)


def _watch(parent: str, leave: Callable[[], None]) -> None:
    while _is_alive(parent):
        time.sleep(0.5)
    log.warning("Stopping, because the parent process has ended.")
    leave()
