"""Take the bytes that a writer of files produces while it writes."""

from __future__ import annotations

import io
from typing import Any


class Sink(io.RawIOBase):
    """Be the file of a Parquet writer, whose bytes are taken as they are written."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        """Remove and return the bytes written so far."""
        content = b"".join(self._pieces)
        self._pieces.clear()
        return content
