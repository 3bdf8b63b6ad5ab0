"""Repair truncated files, filling missing pixels with gray.

A JPEG that lacks only its last bytes has all pixels and is always shown. For other truncated files,
``Rendering.shows_cut`` decides whether they are shown or refused.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.images.problems import TRUNCATED
from labeling.images.source_file import PNG_START, png_chunks

# Pictures with at most this share of missing pixels count as complete.
_WHOLE = 0.005
# Pictures with more than this share of missing pixels are refused.
_NOTHING = 0.99
_GRAY = 0x80
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PALETTE = 3
# Pictures are compared at no more than this side in pixels.
_COMPARED_SIDE = 1024
_FILLED = 64 * 1024


@dataclass(frozen=True, slots=True)
class Repaired:
    """The content of a repaired file, and a note for the user."""

    content: bytes
    note: str


def is_cut(error: Exception) -> bool:
    """Return whether a decoder's error means that the file is truncated."""
    message = str(error).lower()
    return isinstance(error, EOFError) or any(hint in message for hint in ("truncated", "not processed", "broken png"))


def repair(stream: BinaryIO, shows_cut: bool) -> Repaired | None:
    """Return the truncated file, completed; None if nothing of it can be shown, or ``shows_cut`` is false."""
    stream.seek(0)
    content = stream.read()
    if content.startswith(_JPEG):
        completed, missing = content + _JPEG_END, _missing_of_jpeg(content)
    elif shows_cut and content.startswith(PNG_START):
        completed, missing = _repair_png(content)
    elif shows_cut and content.startswith(b"BM"):
        completed, missing = _repair_bmp(content)
    else:
        return None
    if missing <= _WHOLE:
        note = "The end of the file is missing, but the picture is complete. Copy it again to be sure."
        return Repaired(completed, note)
    if not shows_cut or missing > _NOTHING:
        return None
    return Repaired(completed, note_of(missing))


def note_of(missing: float) -> str:
    """Return the note for a picture with this share of missing pixels."""
    return f"{TRUNCATED} The missing part ({missing:.0%}) is shown gray."


# -- JPEG -------------------------------------------------------------------------------------------
def _missing_of_jpeg(content: bytes) -> float:
    """Return the share of missing pixels.

    Decoders skip bytes between the last pixels and the end. Bytes inserted there therefore change the picture only
    where pixels are missing.
    """
    noise = np.random.default_rng(0).integers(1, 255, _FILLED, dtype=np.uint8).tobytes()
    try:
        pictures = [_reduced(content + filling + _JPEG_END) for filling in (b"", noise, noise[::-1])]
    except (OSError, SyntaxError, ValueError):
        return 1.0
    differ = np.zeros(pictures[0].shape[:2], np.bool_)
    for picture in pictures[1:]:
        differ |= (picture != pictures[0]).any(axis=2)
    # Noise leaves some pixels unchanged by chance. All rows after the first that differs are missing.
    rows = np.flatnonzero(differ.any(axis=1))
    if not rows.size:
        return 0.0
    return float(max(differ.mean(), 1 - (rows[0] + 8) / len(differ)))


def _reduced(content: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(content), formats=["JPEG"]) as image:
        image.draft("RGB", (_COMPARED_SIDE, _COMPARED_SIDE))
        return np.asarray(image.convert("RGB"))


# -- PNG --------------------------------------------------------------------------------------------
def _repair_png(content: bytes) -> tuple[bytes, float]:
    """Fill missing rows with gray, or with the first palette color; return the file and the missing share."""
    before, packed, after = _png_parts(content)
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", before[16:29])
    row = 1 + (width * bits * _PNG_CHANNELS.get(kind, 1) + 7) // 8
    if interlaced:  # rows are spread over seven passes, so the missing share is unknown
        return content, 1.0
    unpacker = zlib.decompressobj()
    rows = bytearray()
    try:
        rows += unpacker.decompress(packed, row * height)
    except zlib.error:
        return content, 1.0
    whole = len(rows) // row
    filling = bytes([0]) + bytes([0 if kind == _PNG_PALETTE else _GRAY]) * (row - 1)
    pixels = bytes(rows[: whole * row]) + filling * (height - whole)
    body = before + _chunk(b"IDAT", zlib.compress(pixels, 1)) + after + _chunk(b"IEND", b"")
    return body, 1 - whole / height


def _png_parts(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the file before the compressed pixels, the compressed pixels, and the complete chunks after them."""
    before, packed, after = bytearray(PNG_START), bytearray(), bytearray()
    stream = BytesIO(content)
    for kind, size in png_chunks(stream):
        data = stream.read(size)
        if kind == b"IDAT":
            packed += data
        elif len(data) == size and kind != b"IEND":
            (after if packed else before).extend(_chunk(kind, data))
    return bytes(before), bytes(packed), bytes(after)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# -- BMP --------------------------------------------------------------------------------------------
def _repair_bmp(content: bytes) -> tuple[bytes, float]:
    """Fill missing pixels with gray; return the file and the missing share, 1 for compressed files."""
    if len(content) < 54:
        return content, 1.0
    begin, width, height = struct.unpack("<10xI4xii", content[:26])
    bits, packing = struct.unpack("<HI", content[28:34])
    size = (abs(width) * bits + 31) // 32 * 4 * abs(height)
    if packing not in {0, 3} or len(content) <= begin or size <= 0 or size > 2**31:
        return content, 1.0
    missing = max(0, begin + size - len(content))
    return content + bytes([_GRAY]) * missing, missing / size
