"""Read a file once to find its format, its hash and whether it can be displayed."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

from PIL import Image

from labeling.images import thumbnails
from labeling.images.encoder_inputs import Squares, decode_side
from labeling.images.open_image import decoded
from labeling.images.problems import ImageProblem
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.revisions import picture_hash
from labeling.images.source_file import as_image_problems, regular_file
from labeling.images.thumbnails import TILE, Cache

# Files up to this size are read once, then hashed and decoded from memory. Larger ones are streamed.
_IN_MEMORY = 64 * 1024 * 1024
# Side in pixels that suffices to check that a file can be decoded.
_SMALL = 64
# Smaller files are decoded in about the time that writing and reading a cached encoder input takes.
WORTH_A_SQUARE = 32 * 1024
# Smaller files are rendered in milliseconds when, or just before, a page requests them; most never are requested.
_WORTH_A_PICTURE = 512 * 1024


@dataclass(frozen=True, slots=True)
class Examined:
    """The properties of a readable image file.

    ``width`` and ``height`` are in pixels, upright; ``size`` is in bytes. ``revision``: see labeling.images.revisions.
    ``note``: a defect that does not prevent display.
    """

    sha256: str
    size: int
    mtime_ns: int
    width: int
    height: int
    format: str
    revision: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Keep:
    """What to cache while an image is decoded: the picture of its tile, and the square input of an encoder."""

    pictures: Cache | None = None
    squares: Squares | None = None

    def of_file(self, n_bytes: int) -> Self:
        """Return what is worth caching for a file of ``n_bytes``."""
        pictures = self.pictures if n_bytes > _WORTH_A_PICTURE else None
        return replace(self, pictures=pictures, squares=self.squares if n_bytes > WORTH_A_SQUARE else None)

    @property
    def side(self) -> int:
        """Return the side in pixels at which to open an image."""
        if self.squares is not None:
            return decode_side(self.squares.side)
        # A JPEG is then opened at an eighth of its size: all bytes are decompressed, but few pixels are computed.
        return _SMALL if self.pictures is None else TILE


NOTHING = Keep()


def examine(path: Path, rendering: Rendering = DEFAULT, keep: Keep = NOTHING) -> Examined:
    """Read, hash and fully decode the part of an image file that ``rendering`` selects.

    Caches what ``keep`` names if it is worthwhile for a file of this size. Raises ImageProblem if the file cannot be
    displayed, with a readable reason, or changed while it was being read.
    """
    with as_image_problems(), regular_file(path) as stream:
        before = os.fstat(stream.fileno())
        source: BinaryIO = stream
        if before.st_size <= _IN_MEMORY:
            content = stream.read()
            sha256 = hashlib.sha256(content).hexdigest()
            source = io.BytesIO(content)
        else:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
        to_cache = keep.of_file(before.st_size)
        image = decoded(source, to_cache.side, rendering)
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageProblem("The file changed while it was being read. Rescan the folder when the file is complete.")
    _cache(image.image, picture_hash(sha256, image.revision), to_cache, rendering)
    width, height = image.size
    return Examined(sha256, before.st_size, before.st_mtime_ns, width, height, image.format, image.revision, image.note)


def _cache(image: Image.Image, sha256: str, keep: Keep, rendering: Rendering) -> None:
    try:
        if keep.squares:
            keep.squares.keep(image, sha256)
        if keep.pictures and not keep.pictures.find(sha256, TILE, rendering):
            keep.pictures.keep(*thumbnails.render_opened(image, TILE), sha256, TILE, rendering)
    except OSError:
        # A full disk is not the file's fault. Pictures are rendered on request, and the error is shown then.
        return
