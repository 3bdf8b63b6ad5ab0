"""Read a file once: what it is, whether it can be shown, and what its bytes hash to."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image

from labeling.images import thumbnails
from labeling.images.opening import decoded, in_plain_words, regular_file
from labeling.images.problems import ImageProblem
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.thumbnails import Cache

# Files up to this size are read in one go and hashed and decoded from memory; larger ones are streamed.
_IN_MEMORY = 64 * 1024 * 1024
# Enough to know that a file can be decoded.
_SMALL = 64
# Files up to this size are opened in some milliseconds when a page asks for them, or just before.
_WORTH_A_PICTURE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Examined:
    """One readable image file. ``width`` and ``height`` are in pixels, upright; ``size`` is in bytes."""

    sha256: str
    size: int
    mtime_ns: int
    width: int
    height: int
    format: str

    def as_params(self) -> dict[str, Any]:
        """For JSON; its own arguments."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Small:
    """Which picture to keep of each image that is read, from the same decoding."""

    size: int
    cache: Cache


def examine(path: str | os.PathLike[str], rendering: Rendering = DEFAULT, small: Small | None = None) -> Examined:
    """Read, hash and fully decode an image file, as ``rendering`` chooses of its parts.

    With ``small``, the picture of a file that is worth it is kept as well.

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
        wanted = small if small is not None and before.st_size > _WORTH_A_PICTURE else None
        # Of a JPEG an eighth of the size: every byte is still unpacked, without the work for the pixels.
        name, image, (width, height) = decoded(source, wanted.size if wanted else _SMALL, rendering)
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageProblem("The file changed while it was being read; ingest again when it is complete.")
    if wanted:
        _keep(image, sha256, wanted, rendering)
    return Examined(sha256, before.st_size, before.st_mtime_ns, width, height, name)


def _keep(image: Image.Image, sha256: str, small: Small, rendering: Rendering) -> None:
    if small.cache.find(sha256, small.size, rendering):
        return
    try:
        small.cache.keep(*thumbnails.render_decoded(image, small.size), sha256, small.size, rendering)
    except OSError:
        # No room for pictures is no fault of the file; it is made, or the reason told, when a page asks for it.
        return
