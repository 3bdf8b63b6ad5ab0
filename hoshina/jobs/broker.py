"""Provide the embedded broker: messages are small files in one folder, so that no other server is needed.

Kombu has a similar transport, but it needs pywin32 on Windows, and a reader there may find a message that is still
being written. This one writes under a temporary name first, and the process that deletes the file owns the message.
"""

from __future__ import annotations

import base64
import logging
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from hoshina.core.storage import replacing

log = logging.getLogger(__name__)


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
    """The transport for Celery's ``broker_transport``; its transport options name the ``folder``."""

    Channel = Channel
    # Every process knows which queue listens to which exchange: there are only direct exchanges.
    global_state = virtual.BrokerState()
    implements = virtual.Transport.implements.extend(asynchronous=False, exchange_type=frozenset(["direct"]))
    driver_type = "files"
    driver_name = "files"

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.state = self.global_state

    def driver_version(self) -> str:
        return "1"
