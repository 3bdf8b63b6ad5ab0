"""A ZIP archive as a stream of bytes: nothing is kept but the list of its members, and no clock is read."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, cast

# Pieces of this size are sent on; the very first one goes at once, so that a download starts.
PIECE = 64 * 1024
_FILE_MODE = 0o100644 << 16
_UNIX = 3


@dataclass(frozen=True)
class Member:
    """One file of the archive, written as ``chunks`` come.

    ``is_huge`` has to be true where it might exceed 2 GiB (it is then written with 64-bit sizes).
    ``is_listed`` files have their size and SHA-256 in the manifest.
    """

    name: str
    chunks: Iterable[bytes]
    is_huge: bool = False
    is_listed: bool = True


@dataclass(frozen=True)
class Written:
    """What became of a listed member."""

    bytes: int
    sha256: str


class _Sink:
    """What zipfile writes to: no seeking, only bytes that are taken away at once."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.waiting = 0

    def write(self, data: bytes) -> int:
        # zipfile may pass a buffer that it uses again.
        self._pieces.append(bytes(data))
        self.waiting += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self.waiting = 0
        return taken


def stream_zip(members: Iterable[Member], ledger: dict[str, Written]) -> Iterator[bytes]:
    """The bytes of the archive of ``members``; ``ledger`` learns size and hash of each listed one as it ends.

    Stored, not compressed: zlib's output differs between its versions and builds. Times are the ZIP format's
    first day, the mode is rw-r--r--. A failure within a member leaves an archive without its directory, which
    no program takes for a whole one.
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
                ledger[member.name] = Written(size, digest.hexdigest())
    yield sink.take()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_STORED
    entry.create_system = _UNIX
    entry.external_attr = _FILE_MODE
    return entry
