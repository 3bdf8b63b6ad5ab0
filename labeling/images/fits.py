"""FITS, the format of astronomers: the chosen image of the file, or the first, under a stretch.

The usual stretch is zscale: IRAF's, as astropy implements it (``astropy.visualization.ZScaleInterval``). Astropy is
imported when the first FITS file is opened: it takes long, and most people have none.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.images.library_warnings import silenced
from labeling.images.planes import combined
from labeling.images.problems import TRUNCATED, ImageProblem, refuse_too_large
from labeling.images.raster import MISSING, refuse_unknown
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.stretch import stretch

EXTENSIONS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fz")
_MAGIC = b"SIMPLE  ="
_GZIP = b"\x1f\x8b"

# A packed file is unpacked to this many bytes at most: more would be a bomb, or too large to be shown.
_MOST_UNPACKED = 2**31
_IN_MEMORY = 64 * 2**20
_BLOCK = 2**20
# Larger images are kept in single precision: a gigabyte for the largest.
_DOUBLE_PIXELS = 40_000_000
_PARTS_NAMED = 6


def is_fits(stream: BinaryIO) -> bool:
    """Whether the file, or what gzip packed in it, begins as FITS does; the position is left at the start."""
    start = stream.read(len(_MAGIC))
    stream.seek(0)
    if start[:2] == _GZIP:
        start = _unpacked_start(stream)
    return start == _MAGIC


@contextmanager
def parts_of(stream: BinaryIO) -> Iterator[Any]:
    """The file's parts as astropy's HDUList, packed or not, with astropy's warnings silenced. One thread at a time."""
    from astropy.io import fits

    with (
        _unpacked(stream) as plain,
        silenced(),
        fits.open(plain, mode="readonly", memmap=False, lazy_load_hdus=True) as parts,
    ):
        yield parts


def chosen(parts: Any, hdu: int | None) -> Any:
    """The part that is shown: the one of that number, or the first that holds an image. Raises ImageProblem."""
    if hdu is not None:
        return _numbered(parts, hdu)
    seen: list[str] = []
    for number, part in enumerate(parts):
        if _is_image(part):
            return part
        seen.append(f"HDU {number} is {_what(part)}")
    named = "; ".join(seen[:_PARTS_NAMED]) + ("; …" if len(seen) > _PARTS_NAMED else "")
    raise ImageProblem(f"The FITS file holds no image: {named}.")


def begins_on_top(header: Any, rendering: Rendering = DEFAULT) -> bool:
    """Return whether the first row is the top one: by the card ROWORDER, else as the dataset says."""
    order = _row_order(header)
    return order == "TOP-DOWN" or (rendering.first_row == "top" and order != "BOTTOM-UP")


def _row_order(header: Any) -> str:
    try:
        return str(header.get("ROWORDER", "")).strip().upper()
    except Exception:  # noqa: BLE001 - a damaged card fails in many ways, and is as good as none
        return ""


@dataclass(frozen=True, slots=True)
class Planes:
    """What is to be shown in its own values: one plane (h, w), or three for red, green and blue.

    ``says_top``: whether the header says that the first row is the top one. ``missing``: bool (h, w), what a cut file
    lacks of the planes; None of a whole one.
    """

    planes: list[NDArray[Any]]
    says_top: bool
    missing: NDArray[np.bool_] | None


def read_planes(stream: BinaryIO, rendering: Rendering = DEFAULT) -> Planes:
    """Return the planes that ``rendering`` chooses.

    Row 0 is the top of the picture: FITS counts rows from the bottom unless its header says otherwise.
    Unknown pixels are not-a-number. Raises ImageProblem for a file without an image, a truncated or a too large one.
    """
    with parts_of(stream) as parts:
        part = chosen(parts, rendering.hdu)
        height, width = part.shape[-2:]
        refuse_too_large(width, height)
        outer = part.shape[:-2]
        missing = None
        try:
            _refuse_truncated(part)
            planes = combined(int(np.prod(outer)), lambda number: _plane(part, outer, number), rendering.plane)
        except ImageProblem:
            if not rendering.shows_cut or hasattr(part, "compression_type"):
                raise
            planes, missing = _planes_there(part, outer, rendering)
        says_top = _row_order(part.header) == "TOP-DOWN"
        if not begins_on_top(part.header, rendering):
            planes = [np.flipud(plane) for plane in planes]
            missing = None if missing is None else np.flipud(missing)
    return Planes(planes, says_top, missing)


def read_picture(stream: BinaryIO, rendering: Rendering = DEFAULT) -> tuple[Image.Image, int, float]:
    """Return the picture of :func:`read_planes` as RGB, its revision, and which share of it a cut file lacks.

    Unknown pixels are black, missing ones gray. Bands differ in their values, so each of three planes is stretched on
    its own.
    """
    found = read_planes(stream, rendering)
    refuse_unknown(*found.planes)
    pictures = [stretch(plane, rendering, usual="zscale") for plane in found.planes]
    picture = pictures[0] if len(pictures) == 1 else np.stack(pictures, axis=-1)
    image = Image.fromarray(picture).convert("RGB")
    if found.missing is None:
        return image, int(found.says_top), 0.0
    image.paste(MISSING, mask=Image.fromarray(found.missing.astype(np.uint8) * 255))
    return image, int(found.says_top), float(found.missing.mean())


def _numbered(parts: Any, hdu: int) -> Any:
    for number, part in enumerate(parts):
        if number == hdu:
            if _is_image(part):
                return part
            raise ImageProblem(f"HDU {hdu} of this FITS file is {_what(part)}, which can't be shown as an image.")
    raise ImageProblem(f"The FITS file has no HDU {hdu}; it has {len(parts)}, counted from 0.")


def _is_image(part: Any) -> bool:
    return bool(part.is_image) and len(part.shape) >= 2 and 0 not in part.shape


def _what(part: Any) -> str:
    if not part.is_image:
        rows = getattr(part, "header", {}).get("NAXIS2")
        if not isinstance(rows, int):
            return "of a kind without an image"
        return "a table of 1 row" if rows == 1 else f"a table of {rows:,} rows"
    if not part.shape or 0 in part.shape:
        return "empty"
    return f"a spectrum or a series of {part.shape[0]:,} values (one dimension)"


def _plane(part: Any, outer: tuple[int, ...], number: int) -> NDArray[Any]:
    """One plane of two dimensions in numbers that hold its digits."""
    at = tuple(int(place) for place in np.unravel_index(number, outer)) if outer else ()
    plane = np.asarray(part.section[at] if outer else part.section[:, :])
    is_wide = plane.dtype.itemsize > 4 or (plane.dtype.kind in "iu" and plane.dtype.itemsize == 4)
    wanted = np.float64 if is_wide and plane.size <= _DOUBLE_PIXELS else np.float32
    return plane.astype(wanted)


def _planes_there(
    part: Any, outer: tuple[int, ...], rendering: Rendering
) -> tuple[list[NDArray[Any]], NDArray[np.bool_]]:
    """Return the planes of a plain image of which the file holds the first rows, and what of them is missing."""
    height, width = part.shape[-2:]
    place = part.fileinfo()
    stored = np.dtype({8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[int(part.header["BITPIX"])])

    def plane(number: int) -> NDArray[Any]:
        place["file"].seek(place["datLoc"] + number * height * width * stored.itemsize)
        content = place["file"].read(height * width * stored.itemsize)
        rows = len(content) // (width * stored.itemsize)
        values = np.full((height, width), np.nan)
        there = np.frombuffer(content[: rows * width * stored.itemsize], stored).reshape(rows, width)
        values[:rows] = there.astype(np.float64) * part.header.get("BSCALE", 1) + part.header.get("BZERO", 0)
        blank = part.header.get("BLANK")
        if blank is not None and stored.kind != "f":
            values[:rows][there == blank] = np.nan
        return values

    planes = combined(int(np.prod(outer)), plane, rendering.plane)
    missing = np.all([np.isnan(one).all(axis=1) for one in planes], axis=0)
    if missing.all():
        raise ImageProblem(TRUNCATED)
    return planes, np.repeat(missing[:, None], width, axis=1)


def _refuse_truncated(part: Any) -> None:
    """Astropy only warns of a short file, and then fails with words about buffers."""
    place = part.fileinfo()
    stream = place["file"]
    position = stream.tell()
    stream.seek(0, 2)
    end = stream.tell()
    stream.seek(position)
    # A packed image says the size of the unpacked one; what it takes here is only known in blocks of 2880 bytes.
    size = place["datSpan"] - 2879 if hasattr(part, "compression_type") else part.size
    if place["datLoc"] + size > end:
        raise ImageProblem(
            f"The file is truncated: its image needs {place['datLoc'] + size:,} bytes and the file has {end:,}. "
            "Copy or download it again."
        )


# -- gzip -------------------------------------------------------------------------------------------
def _unpacked_start(stream: BinaryIO) -> bytes:
    try:
        with gzip.GzipFile(fileobj=stream) as packed:
            return packed.read(len(_MAGIC))
    except (OSError, EOFError, zlib.error):
        return b""
    finally:
        stream.seek(0)


@contextmanager
def _unpacked(stream: BinaryIO) -> Iterator[BinaryIO]:
    """The stream itself, or what gzip packed in it: in memory while it is small, else in a file."""
    stream.seek(0)
    is_packed = stream.read(2) == _GZIP
    stream.seek(0)
    if not is_packed:
        yield stream
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as plain:
        n = 0
        with gzip.GzipFile(fileobj=stream) as packed:
            while block := packed.read(_BLOCK):
                n += len(block)
                if n > _MOST_UNPACKED:
                    raise ImageProblem(f"Unpacked, the file would be larger than {_MOST_UNPACKED // 2**30} GiB.")
                plain.write(block)
        plain.seek(0)
        yield plain  # type: ignore[misc] # it has what a binary stream has
