"""Read FITS, the image format of astronomy: the selected or first image of a file, with a stretch applied.

The usual stretch is zscale, IRAF's algorithm as implemented by astropy (``astropy.visualization.ZScaleInterval``).
Astropy is imported when the first FITS file is opened, because importing it is slow and most users have no FITS files.
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

from labeling.images.library_warnings import without_warnings
from labeling.images.planes import combine
from labeling.images.problems import TRUNCATED, ImageProblem, refuse_too_large
from labeling.images.raster import MISSING, refuse_unknown
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.stretch import stretch

EXTENSIONS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fz")
_MAGIC = b"SIMPLE  ="
_GZIP = b"\x1f\x8b"

# Compressed files are decompressed to at most this many bytes. Larger ones are bombs or too large to display.
_MOST_UNPACKED = 2**31
_IN_MEMORY = 64 * 2**20
_BLOCK = 2**20
# Larger images use single precision, which is up to a gigabyte.
_DOUBLE_PIXELS = 40_000_000
_PARTS_NAMED = 6


def is_fits(stream: BinaryIO) -> bool:
    """Return whether the file is FITS, gzip-compressed or not. Leave the stream at its start."""
    start = stream.read(len(_MAGIC))
    stream.seek(0)
    if start[:2] == _GZIP:
        start = _unpacked_start(stream)
    return start == _MAGIC


@contextmanager
def open_parts(stream: BinaryIO) -> Iterator[Any]:
    """Open the file's parts as an astropy HDUList, without astropy's warnings. Runs in one thread at a time."""
    from astropy.io import fits

    with (
        _unpacked(stream) as plain,
        without_warnings(),
        fits.open(plain, mode="readonly", memmap=False, lazy_load_hdus=True) as parts,
    ):
        yield parts


def select_part(parts: Any, hdu: int | None) -> Any:
    """Return part number ``hdu``, or the first part with an image if None. Raises ImageProblem if there is none."""
    if hdu is not None:
        return _numbered(parts, hdu)
    descriptions: list[str] = []
    for number, part in enumerate(parts):
        if _is_image(part):
            return part
        descriptions.append(f"HDU {number} is {_description_of(part)}")
    named = "; ".join(descriptions[:_PARTS_NAMED]) + ("; …" if len(descriptions) > _PARTS_NAMED else "")
    raise ImageProblem(f"The FITS file contains no image: {named}.")


def begins_on_top(header: Any, rendering: Rendering = DEFAULT) -> bool:
    """Return whether the first row is at the top: by the card ROWORDER, or else by the dataset's setting."""
    order = _row_order(header)
    return order == "TOP-DOWN" or (rendering.first_row == "top" and order != "BOTTOM-UP")


def _row_order(header: Any) -> str:
    try:
        return str(header.get("ROWORDER", "")).strip().upper()
    except Exception:  # noqa: BLE001 - a damaged card raises anything, and counts as missing
        return ""


@dataclass(frozen=True, slots=True)
class Planes:
    """The unstretched values to display: one plane (h, w), or three for red, green and blue.

    ``says_top``: whether the header declares the first row as the top one. ``missing``: bool (h, w), the pixels that a
    truncated file lacks; None for a complete file.
    """

    planes: list[NDArray[Any]]
    says_top: bool
    missing: NDArray[np.bool_] | None


def read_planes(stream: BinaryIO, rendering: Rendering = DEFAULT) -> Planes:
    """Return the planes that ``rendering`` selects.

    Row 0 is the top of the picture, although FITS counts rows from the bottom unless its header says otherwise. Unknown
    pixels are NaN. Raises ImageProblem if the file has no image, is truncated or is too large.
    """
    with open_parts(stream) as parts:
        part = select_part(parts, rendering.hdu)
        height, width = part.shape[-2:]
        refuse_too_large(width, height)
        outer = part.shape[:-2]
        missing = None
        try:
            _refuse_truncated(part)
            planes = combine(int(np.prod(outer)), lambda number: _plane(part, outer, number), rendering.plane)
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
    """Return the stretched planes as an RGB image, its revision, and the share of pixels that a truncated file lacks.

    Unknown pixels are black, missing ones gray. Each of three planes is stretched separately, because bands differ in
    their values.
    """
    selected = read_planes(stream, rendering)
    refuse_unknown(*selected.planes)
    pictures = [stretch(plane, rendering, usual="zscale") for plane in selected.planes]
    picture = pictures[0] if len(pictures) == 1 else np.stack(pictures, axis=-1)
    image = Image.fromarray(picture).convert("RGB")
    if selected.missing is None:
        return image, int(selected.says_top), 0.0
    image.paste(MISSING, mask=Image.fromarray(selected.missing.astype(np.uint8) * 255))
    return image, int(selected.says_top), float(selected.missing.mean())


def _numbered(parts: Any, hdu: int) -> Any:
    for number, part in enumerate(parts):
        if number == hdu:
            if _is_image(part):
                return part
            raise ImageProblem(
                f"HDU {hdu} of this FITS file is {_description_of(part)}, which can't be shown as an image."
            )
    raise ImageProblem(f"The FITS file has no HDU {hdu}; it has {len(parts)}, counted from 0.")


def _is_image(part: Any) -> bool:
    return bool(part.is_image) and len(part.shape) >= 2 and 0 not in part.shape


def _description_of(part: Any) -> str:
    if not part.is_image:
        rows = getattr(part, "header", {}).get("NAXIS2")
        if not isinstance(rows, int):
            return "a part without an image"
        return "a table of 1 row" if rows == 1 else f"a table of {rows:,} rows"
    if not part.shape or 0 in part.shape:
        return "empty"
    return f"a spectrum or a series of {part.shape[0]:,} values (one dimension)"


def _plane(part: Any, outer: tuple[int, ...], number: int) -> NDArray[Any]:
    """Return one two-dimensional plane as floats precise enough for its values."""
    at = tuple(int(place) for place in np.unravel_index(number, outer)) if outer else ()
    plane = np.asarray(part.section[at] if outer else part.section[:, :])
    is_wide = plane.dtype.itemsize > 4 or (plane.dtype.kind in "iu" and plane.dtype.itemsize == 4)
    dtype = np.float64 if is_wide and plane.size <= _DOUBLE_PIXELS else np.float32
    return plane.astype(dtype)


def _planes_there(
    part: Any, outer: tuple[int, ...], rendering: Rendering
) -> tuple[list[NDArray[Any]], NDArray[np.bool_]]:
    """Return the planes of a truncated, uncompressed image, and the mask of missing pixels."""
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

    planes = combine(int(np.prod(outer)), plane, rendering.plane)
    missing = np.all([np.isnan(values).all(axis=1) for values in planes], axis=0)
    if missing.all():
        raise ImageProblem(TRUNCATED)
    return planes, np.repeat(missing[:, None], width, axis=1)


def _refuse_truncated(part: Any) -> None:
    """Raise ImageProblem if the file is truncated. Astropy only warns, and then fails with an error about buffers."""
    place = part.fileinfo()
    stream = place["file"]
    position = stream.tell()
    stream.seek(0, 2)
    end = stream.tell()
    stream.seek(position)
    # The header of a compressed image gives its uncompressed size. Its size in the file is known only in blocks of
    # 2880 bytes.
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
    """Yield the stream, or its decompressed content if it is gzip: in memory if it is small, or else in a file."""
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
                    raise ImageProblem(f"The file is larger than {_MOST_UNPACKED // 2**30} GiB when unpacked.")
                plain.write(block)
        plain.seek(0)
        yield plain  # type: ignore[misc] # it has the methods of a binary stream
