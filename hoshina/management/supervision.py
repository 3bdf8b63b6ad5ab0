"""Supervise a small tree of processes: start them together, restart those that die, stop them together."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from hoshina.core import parent_watch
from hoshina.core.processes import describe, lives, module_environment

log = logging.getLogger(__name__)

WINDOWS = sys.platform == "win32"
# Seconds before a child that died is restarted: FIRST_PAUSE, then doubled up to LONGEST_PAUSE.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# After running this long, the pause is FIRST_PAUSE again.
WELL_AFTER = 60.0
# Bytes of a log file beyond which its content moves to ``<name>.old.log``.
LARGEST_LOG = 5_000_000


def start(command: Sequence[str], *, stdout: int | None, stderr: int | None) -> subprocess.Popen[bytes]:
    """Start a Python process in its own group, so that a terminal's Ctrl-C reaches only its parent."""
    environment = {
        **module_environment(),
        parent_watch.VARIABLE: describe(),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        start_new_session=not WINDOWS,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def identity_of(process: subprocess.Popen[bytes]) -> str:
    """Return the identity of a process, as :func:`hoshina.core.processes.describe` does."""
    try:
        return describe(process.pid)
    except psutil.NoSuchProcess:  # it failed at once
        return f"{process.pid}:0"


def stop(processes: Sequence[subprocess.Popen[bytes]], *, patience: float) -> None:
    """Ask processes to end, kill those that still run after ``patience`` seconds, and wait for all of them."""
    below = {process.pid: _below(process) for process in processes}
    for process in processes:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + patience
    for process in processes:
        try:
            process.wait(timeout=max(0.05, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("Process %s did not stop in time; killed.", process.pid)
            process.kill()
            process.wait()
    for children in below.values():
        _, alive = psutil.wait_procs(children, timeout=0.2)
        for child in alive:
            child.kill()
        psutil.wait_procs(alive, timeout=1)


def _below(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@dataclass
class Child:
    """One process that should run as long as its parent."""

    name: str
    command: Sequence[str]
    log_file: Path
    process: subprocess.Popen[bytes] | None = None
    identity: str = ""
    _pause: float = FIRST_PAUSE
    _started_at: float = 0.0
    _again_at: float = 0.0

    def start(self) -> None:
        """Start it, with its output in its log file."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            self.process = start(self.command, stdout=output.fileno(), stderr=subprocess.STDOUT)
        self.identity = identity_of(self.process)
        self._started_at = time.monotonic()
        self._again_at = 0.0

    def rotate_log(self) -> None:
        """Move the log's content to ``<name>.old.log`` if there is too much. The process goes on appending to it."""
        try:
            if self.log_file.stat().st_size > LARGEST_LOG:
                shutil.copyfile(self.log_file, self.log_file.with_suffix(".old.log"))
                os.truncate(self.log_file, 0)
        except FileNotFoundError:
            return

    def look(self) -> str:
        """Restart it after a pause if it died. Return a message for the user, if any."""
        self.rotate_log()
        if self.process is None or self.process.poll() is None:
            if time.monotonic() - self._started_at > WELL_AFTER:
                self._pause = FIRST_PAUSE
            return ""
        if not self._again_at:
            self._again_at = time.monotonic() + self._pause
            status = self.process.returncode
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            message = (
                f"{self.name} stopped ({how}); restarting it in {self._pause:g} s. Its output is in {self.log_file}"
            )
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            return message
        if time.monotonic() >= self._again_at:
            self.start()
        return ""


@dataclass
class Tree:
    """The children of one ``up``."""

    children: list[Child] = field(default_factory=list)
    on_death: Callable[[str], None] = lambda identity: None

    @property
    def is_running(self) -> bool:
        """Return whether all children run."""
        return all(child.process is not None and child.process.poll() is None for child in self.children)

    def look(self) -> list[str]:
        """Restart children that died. Return messages for the user."""
        messages = []
        for child in self.children:
            if message := child.look():
                messages.append(message)
                self.on_death(child.identity)
        return messages

    def stop(self, *, patience: float) -> None:
        """Stop all children, and call ``on_death`` for each, so that unfinished work is given back."""
        stop([child.process for child in self.children if child.process is not None], patience=patience)
        for child in self.children:
            if child.identity:
                self.on_death(child.identity)


def end_leftovers(identities: Sequence[str], *, patience: float) -> None:
    """Wait for the children of an ``up`` that was killed, which soon end on their own, and kill the others."""
    until = time.monotonic() + patience
    while time.monotonic() < until and any(lives(identity) for identity in identities):
        time.sleep(0.1)
    for identity in identities:
        if lives(identity):
            psutil.Process(int(identity.partition(":")[0])).kill()
