"""Start a process that opens untrusted files, exchange messages with it, and stop it when it exceeds its limits."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from labeling.images.decoder_messages import receive, send

# Seconds between checks of the memory of a working process.
_LOOK = 0.05
# Bytes that a pipe holds where the system can set it: batches of images have megabytes.
_PIPE = 2**20


class ProcessStopped(Exception):
    """Signal that a process was stopped at a limit; the message names it, such as "longer than 120 s"."""


class ProcessCrashed(Exception):
    """Signal that a process ended unexpectedly; the message says how, such as "signal 11"."""


class WatchedProcess:
    """One process, and threads that write to it and read from it, so that it cannot block this one.

    Parameters
    ----------
    seconds, megabytes : limits for one response; a process that exceeds them is stopped.
    folder : its working directory, by default that of this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        seconds: float,
        megabytes: int,
        folder: Path | None = None,
    ) -> None:
        self._seconds, self._megabytes = seconds, megabytes
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries print warnings there about every nonstandard file
            env=environment,
            cwd=folder,
        )
        _enlarge(self._process.stdin)
        self._requests: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._responses: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        for work in (self._write, self._read):
            threading.Thread(target=work, name="watched process", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, message: object) -> None:
        """Send a message, without waiting until it is read."""
        self._requests.put(message)

    def receive(self) -> bytes:
        """Return the next message. Raises ProcessStopped and ProcessCrashed."""
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                message = self._responses.get(timeout=_LOOK)
                break
            except queue.Empty:
                self._stop_at_limit(time.monotonic() > deadline)
        if message is None:
            self._responses.put(None)  # for whoever asks again
            # It may have closed its output and live on, so it gets a moment to end, and then is killed.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1)
            self._process.kill()
            code = self._process.wait()
            raise ProcessCrashed(f"signal {-code}" if code < 0 else f"code {code}")
        return message

    def end(self) -> None:
        """Stop the process at once. Its pending messages are lost."""
        self._process.kill()
        self._process.wait()
        self._requests.put(None)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):  # of a request that is no longer read: a broken pipe, on Windows another error
                stream.close()

    def _stop_at_limit(self, is_late: bool) -> None:
        if is_late:
            self.end()
            raise ProcessStopped(f"longer than {self._seconds:g} s")
        try:
            megabytes = psutil.Process(self._process.pid).memory_info().rss >> 20
        except psutil.Error:
            return  # it has ended; its last message may still arrive
        if megabytes > self._megabytes:
            self.end()
            raise ProcessStopped(f"more than {self._megabytes:,} MB of memory")

    def _write(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        with suppress(OSError, ValueError):  # it has ended, which the reader reports
            while (message := self._requests.get()) is not None:
                send(stream, message)

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            while message := receive(stream):
                self._responses.put(message)
        except (OSError, ValueError):  # closed while it was being read
            pass
        finally:
            self._responses.put(None)


def _enlarge(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold ``_PIPE`` bytes, unless the system has no such call or its limit is reached."""
    if sys.platform == "linux" and pipe is not None:
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
