"""Read a file once: what it is, whether it can be shown, and what its bytes hash to."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from typing import BinaryIO

from labeling.images import fits
from labeling.images.opening import (
    identified,
    in_plain_words,
    one_at_a_time_if_large,
    orientation,
    regular_file,
)
from labeling.images.problems import ImageProblem

# Files up to this size are read in one go and hashed and decoded from memory; larger ones are streamed.
_IN_MEMORY = 64 * 1024 * 1024
_SIDEWAYS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class Examined:
    """One readable image file. ``width`` and ``height`` are in pixels, upright; ``size`` is in bytes."""

    sha256: str
    size: int
    mtime_ns: int
    width: int
    height: int
    format: str


def examine(path: str | os.PathLike[str]) -> Examined:
    """Read, hash and fully decode an image file.

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
        name, width, height = _decode(source)
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageProblem("The file changed while it was being read; ingest again when it is complete.")
    return Examined(sha256, before.st_size, before.st_mtime_ns, width, height, name)


def _decode(source: BinaryIO) -> tuple[str, int, int]:
    """Format, width and height, after all of the pixels were unpacked."""
    if fits.is_fits(source):
        height, width = fits.read_stretched(source).shape
        return "FITS", width, height
    with identified(source) as image, one_at_a_time_if_large(image):
        # MPO is what cameras make that store several pictures in one JPEG file.
        name = "JPEG" if image.format == "MPO" else str(image.format)
        width, height = image.size
        if name == "JPEG":
            # An eighth of the size: every byte is still unpacked, without the work for the pixels.
            image.draft(None, (width // 8, height // 8))
            image.load()
        else:
            image.load()
            width, height = image.size  # as turned: TIFF is, while loading
        if orientation(image) in _SIDEWAYS:
            width, height = height, width
    return name, width, height
