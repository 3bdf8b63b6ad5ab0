"""Keep bytes for a later part of an export: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator

_IN_MEMORY = 8 * 2**20
_CHUNK = 2**20


class Spool:
    """Bytes that are added one after another and then read once."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - chunks() closes it
        self._size = 0

    @property
    def is_huge(self) -> bool:
        """Return whether an archive needs 64-bit sizes for it."""
        return self._size >= 2**31 - _CHUNK

    def add(self, content: bytes) -> None:
        self._file.write(content)
        self._size += len(content)

    def chunks(self) -> Iterator[bytes]:
        """Yield all bytes in chunks of whole lines."""
        self._file.seek(0)
        with self._file as file:
            while lines := file.readlines(_CHUNK):
                yield b"".join(lines)


class JsonList:
    """Write a list in JSON, or a dictionary, whose entries are added one after another, a line each."""

    def __init__(self, brackets: str = "[]") -> None:
        self._start, self._end = (bracket.encode() for bracket in brackets)
        self._entries = Spool()
        self._entries.add(self._start + b"\n")
        self._is_empty = True

    @property
    def is_huge(self) -> bool:
        return self._entries.is_huge

    def add(self, value: object, key: str | None = None) -> None:
        """Add a value; to a dictionary under a key."""
        entry = json.dumps(value) if key is None else f"{json.dumps(key)}: {json.dumps(value)}"
        self._entries.add((b"" if self._is_empty else b",\n") + entry.encode())
        self._is_empty = False

    def chunks(self) -> Iterator[bytes]:
        """Yield the list, once."""
        yield from self._entries.chunks()
        yield b"\n" + self._end + b"\n"
