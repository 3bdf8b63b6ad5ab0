"""Provide the embedded broker: messages are small files in one folder, so that no other server is needed.

Kombu has a similar transport, but it needs pywin32 on Windows, and a reader there may find a message that is still
being written. This one writes under a temporary name first, and the process that deletes the file owns the message.
"""

from __future__ import annotations

import base64
import logging
import math
import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from hoshina.core.storage import replacing

log = logging.getLogger(__name__)

# Seconds after which the folder is listed again although its time has not changed: file systems round it.
_LIST_EVERY = 1.0
_ROUNDING = 0.1
# The pause between polls grows with the time without a message, from ``polling_interval`` to this multiple of it.
_LONGEST_PAUSE = 4
_PAUSE_PER_IDLE_SECOND = 0.01


class Channel(virtual.Channel):
    """A channel whose messages are files ``<time>-<uuid>.<queue>.msg``, taken in the order of their names."""

    @property
    def folder(self) -> Path:
        client = self.connection.client
        return Path(client.transport_options["folder"])  # type: ignore[union-attr,index]

    def _files(self, queue: str) -> list[Path]:
        suffix = f".{queue}.msg"
        try:
            return sorted(file for file in self.folder.iterdir() if file.name.endswith(suffix))
        except FileNotFoundError:
            return []

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        # A message lost in a power failure is sent again, because the job's row has the state.
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}.{queue}.msg"
        with replacing(self.folder / name, is_durable=False) as stream:
            stream.write(dumps(message).encode())

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for file in self._files(queue):
            try:
                content = file.read_bytes()
                message = _read(content)
                if message is None:
                    self._set_aside(file)
                    continue
                file.unlink()
            except IsADirectoryError:
                self._set_aside(file)
                continue
            except (FileNotFoundError, PermissionError):  # another worker takes it or has taken it
                continue
            return message
        raise Empty

    def _set_aside(self, file: Path) -> None:
        """Move an unreadable message out of the way, so that it does not block those behind it."""
        target = self.folder / "unreadable" / file.name
        target.parent.mkdir(exist_ok=True)
        file.replace(target)
        log.error("A message of the broker cannot be read and was moved to %s. Continuing with the next one.", target)

    def _size(self, queue: str) -> int:
        return len(self._files(queue))

    def _purge(self, queue: str) -> int:
        files = self._files(queue)
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)


def _read(content: bytes) -> dict[str, Any] | None:
    """Return the message in a file, or None if it is empty, truncated or not a message."""
    try:
        message = loads(content.decode("utf-8"))
        properties = message["properties"]
        is_message = isinstance(message["body"], str) and {"delivery_tag", "delivery_info"} <= properties.keys()
        if properties.get("body_encoding") == "base64":
            base64.b64decode(message["body"], validate=True).decode("utf-8")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return message if is_message else None


class Transport(virtual.Transport):
    """Provide Celery's ``broker_transport``; its options: ``folder``, and ``polling_interval`` in seconds."""

    Channel = Channel
    # Every process knows which queue listens to which exchange: there are only direct exchanges.
    global_state = virtual.BrokerState()
    implements = virtual.Transport.implements.extend(asynchronous=False, exchange_type=frozenset(["direct"]))
    driver_type = "files"
    driver_name = "files"

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.state = self.global_state
        self._folder = str(client.transport_options["folder"])
        self._shortest_pause = float(client.transport_options["polling_interval"])
        self._delivered_at = time.monotonic()

    def driver_version(self) -> str:
        return "1"

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        """Deliver the next message. Raises TimeoutError after ``timeout`` seconds without one, as Celery expects."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        assert self.cycle is not None
        while True:
            changed_at = self._changed_at()
            try:
                self.cycle.get(self._deliver, timeout=timeout)
                self._delivered_at = time.monotonic()
                return
            except Empty:
                if time.monotonic() >= deadline:
                    raise TimeoutError from None
            self._wait_for_change(changed_at, min(deadline, time.monotonic() + _LIST_EVERY))

    def _changed_at(self) -> float:
        """Return when a file was last added to or removed from the folder, which is faster than listing it."""
        try:
            return os.stat(self._folder).st_mtime  # noqa: PTH116 - up to 20 times a second, for days
        except FileNotFoundError:
            return 0.0

    def _wait_for_change(self, changed_at: float, deadline: float) -> None:
        """Wait until the folder may have changed since ``changed_at``, or until ``deadline``."""
        if abs(time.time() - changed_at) < _ROUNDING:  # another change may have had the same time
            deadline = 0.0
        growing = _PAUSE_PER_IDLE_SECOND * (time.monotonic() - self._delivered_at)
        pause = min(max(self._shortest_pause, growing), _LONGEST_PAUSE * self._shortest_pause)
        while True:
            time.sleep(pause)
            if time.monotonic() >= deadline or self._changed_at() != changed_at:
                return
