"""Stream a ZIP archive that is reproducible byte by byte, keeping only the list of its members in memory."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

# Size of the pieces that are sent. The first piece is sent at once, so that the download starts.
PIECE = 64 * 1024
_FILE_MODE = 0o100644 << 16
# With the mark of a folder in MS-DOS.
_FOLDER_MODE = 0o040755 << 16 | 0x10
_UNIX = 3


@dataclass(frozen=True)
class Member:
    """One file of the archive, written as its ``chunks`` are produced.

    ``is_huge`` must be true if the file may exceed 2 GiB, so that it is written with 64-bit sizes. ``is_listed``:
    whether the manifest lists its size and SHA-256. ``source``: the file that the chunks are read from, if it is one.
    A name that ends in ``/`` is an empty folder.
    """

    name: str
    chunks: Iterable[bytes]
    is_huge: bool = False
    is_listed: bool = True
    source: Path | None = None

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")

    @classmethod
    def folder(cls, name: str) -> Member:
        """Return an empty folder."""
        return cls(f"{name}/", (), is_listed=False)


@dataclass(frozen=True)
class Written:
    """The size and SHA-256 of a written member."""

    bytes: int
    sha256: str


class _Sink:
    """The output stream of zipfile. It cannot seek, and its bytes are removed as they are sent."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.waiting = 0

    def write(self, data: bytes) -> int:
        # Copy the data, because zipfile may reuse the buffer.
        self._pieces.append(bytes(data))
        self.waiting += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing, because nothing is buffered elsewhere."""

    def take(self) -> bytes:
        """Remove and return the bytes written so far."""
        content = b"".join(self._pieces)
        self._pieces.clear()
        self.waiting = 0
        return content


def stream_zip(members: Iterable[Member], written: dict[str, Written]) -> Iterator[bytes]:
    """Yield the bytes of the archive of ``members``, and add each listed one to ``written`` when it is complete.

    Members are stored without compression, because zlib's output differs between versions and builds. Times are the
    first day of the ZIP format, and modes are rw-r--r--. A failure within a member leaves an archive without its
    directory, which no program accepts as complete.
    """
    sink = _Sink()
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w", zipfile.ZIP_STORED) as archive:
        is_first = True
        for member in members:
            digest, size = hashlib.sha256(), 0
            with archive.open(_entry(member.name), "w", force_zip64=member.is_huge) as stream:
                if is_first:
                    yield sink.take()
                    is_first = False
                for chunk in member.chunks:
                    stream.write(chunk)
                    if member.is_listed:
                        digest.update(chunk)
                        size += len(chunk)
                    if sink.waiting >= PIECE:
                        yield sink.take()
            if member.is_listed:
                written[member.name] = Written(size, digest.hexdigest())
    yield sink.take()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_STORED
    entry.create_system = _UNIX
    entry.external_attr = _FOLDER_MODE if entry.is_dir() else _FILE_MODE
    return entry
