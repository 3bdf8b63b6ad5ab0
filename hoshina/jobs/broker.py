"""The embedded broker: messages are small files in one folder, so that one command runs everything.

Kombu ships a transport like this; it needs pywin32 on Windows, and a reader there may meet a message that is
still being written. This one writes under another name first, and whoever removes the file owns the message.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import virtual
from kombu.utils.json import dumps, loads


class Channel(virtual.Channel):
    """Messages of a queue are the files ``<time>-<uuid>.<queue>.msg``, taken in the order of their names."""

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
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}.{queue}"
        unfinished = self.folder / f"{name}.part"
        unfinished.write_text(dumps(message), encoding="utf-8")
        unfinished.replace(self.folder / f"{name}.msg")

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for file in self._files(queue):
            try:
                content = file.read_text(encoding="utf-8")
                file.unlink()
            except (FileNotFoundError, PermissionError):  # another worker has it, or has just had it
                continue
            return loads(content)
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._files(queue))

    def _purge(self, queue: str) -> int:
        files = self._files(queue)
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)


class Transport(virtual.Transport):
    """Celery's ``broker_transport``; its transport options name the ``folder``."""

    Channel = Channel
    # Which queue hears of which exchange is known to every process by itself: there are only direct ones.
    global_state = virtual.BrokerState()
    implements = virtual.Transport.implements.extend(asynchronous=False, exchange_type=frozenset(["direct"]))
    driver_type = "files"
    driver_name = "files"

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.state = self.global_state

    def driver_version(self) -> str:
        return "1"
