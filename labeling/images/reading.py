"""Read a file once: what it is, whether it can be shown, and what its bytes hash to."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from typing import BinaryIO

from labeling.images.opening import decoded, in_plain_words, regular_file
from labeling.images.problems import ImageProblem
from labeling.images.rendering import DEFAULT, Rendering

# Files up to this size are read in one go and hashed and decoded from memory; larger ones are streamed.
_IN_MEMORY = 64 * 1024 * 1024
# Enough to know that a file can be decoded.
_SMALL = 64


@dataclass(frozen=True, slots=True)
class Examined:
    """One readable image file. ``width`` and ``height`` are in pixels, upright; ``size`` is in bytes."""

    sha256: str
    size: int
    mtime_ns: int
    width: int
    height: int
    format: str


def examine(path: str | os.PathLike[str], rendering: Rendering = DEFAULT) -> Examined:
    """Read, hash and fully decode an image file, as ``rendering`` chooses of its parts.

    Raises
    ------
    ImageProblem
        When it cannot be shown, with the reason in plain words; also when it changed while it was being read.
    """
    with in_plain_words(), regular_file(path) as stream:
        before = os.fstat(stream.fileno())
        source: BinaryIO = stream
        if before.st_size <= _IN_MEMORY:
            content = stream.read()
            sha256 = hashlib.sha256(content).hexdigest()
            source = io.BytesIO(content)
        else:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
        name, width, height = _decode(source, rendering)
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageProblem("The file changed while it was being read; ingest again when it is complete.")
    return Examined(sha256, before.st_size, before.st_mtime_ns, width, height, name)


def _decode(source: BinaryIO, rendering: Rendering) -> tuple[str, int, int]:
    """Format, width and height, after all of the pixels were unpacked."""
    # Of a JPEG an eighth of the size: every byte is still unpacked, without the work for the pixels.
    name, _, (width, height) = decoded(source, _SMALL, rendering)
    return name, width, height
