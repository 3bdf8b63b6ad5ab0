"""Read a file once: what it is, whether it can be shown, and what its bytes hash to."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, replace
from typing import BinaryIO, Self

from PIL import Image

from labeling.images import thumbnails
from labeling.images.encoder_inputs import Squares, decode_side
from labeling.images.open_image import decoded
from labeling.images.problems import ImageProblem
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.revisions import picture_hash
from labeling.images.source_file import in_plain_words, regular_file
from labeling.images.thumbnails import TILE, Cache

# Files up to this size are read in one go and hashed and decoded from memory; larger ones are streamed.
_IN_MEMORY = 64 * 1024 * 1024
# Enough to know that a file can be decoded.
_SMALL = 64
# Smaller files are decoded again in the time that it takes to write and read a square.
WORTH_A_SQUARE = 32 * 1024
# Pictures of smaller files are made in some milliseconds when a page asks for them, or just before; most never are.
_WORTH_A_PICTURE = 512 * 1024


@dataclass(frozen=True, slots=True)
class Examined:
    """One readable image file. ``width`` and ``height`` are in pixels, upright; ``size`` is in bytes.

    ``revision``: as in labeling.images.revisions. ``note``: what is wrong with it although it can be shown.
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
    """What to keep of images that are worth it, from the decoding that reads them: the pictures of their tiles, and the
    squares that an encoder will ask for."""

    pictures: Cache | None = None
    squares: Squares | None = None

    def of_file(self, n_bytes: int) -> Self:
        """What of it is worth it for a file of that size."""
        pictures = self.pictures if n_bytes > _WORTH_A_PICTURE else None
        return replace(self, pictures=pictures, squares=self.squares if n_bytes > WORTH_A_SQUARE else None)

    @property
    def side(self) -> int:
        """For which side to open an image."""
        if self.squares is not None:
            return decode_side(self.squares.side)
        # Of a JPEG an eighth of the size: every byte is still unpacked, without the work for the pixels.
        return _SMALL if self.pictures is None else TILE


NOTHING = Keep()


def examine(path: str | os.PathLike[str], rendering: Rendering = DEFAULT, keep: Keep = NOTHING) -> Examined:
    """Read, hash and fully decode an image file, as ``rendering`` chooses of its parts.

    What ``keep`` asks for is kept of a file that is worth it.

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
        kept = keep.of_file(before.st_size)
        found = decoded(source, kept.side, rendering)
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageProblem("The file changed while it was being read; ingest again when it is complete.")
    _keep_small(found.image, picture_hash(sha256, found.revision), kept, rendering)
    width, height = found.size
    return Examined(sha256, before.st_size, before.st_mtime_ns, width, height, found.format, found.revision, found.note)


def _keep_small(image: Image.Image, sha256: str, keep: Keep, rendering: Rendering) -> None:
    try:
        if keep.squares:
            keep.squares.keep(image, sha256)
        if keep.pictures and not keep.pictures.find(sha256, TILE, rendering):
            keep.pictures.keep(*thumbnails.render_opened(image, TILE), sha256, TILE, rendering)
    except OSError:
        # No room for them is no fault of the file; they are made, or the reason told, when somebody asks for them.
        return
