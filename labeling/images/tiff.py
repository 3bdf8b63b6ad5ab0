"""TIFF files that Pillow does not read: many bands, floats in colours, and those of gigapixels.

tifffile (with scikit-image) reads them; it is imported when such a file is opened. Images too large for the memory
come from a smaller copy in the file (an overview), or are shrunk piece by piece while they are read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labeling.images.planes import combined
from labeling.images.problems import TRUNCATED, ImageProblem, refuse_too_large
from labeling.images.rendering import Rendering

_MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
# Of what is shrunk while it is read, for want of an overview; unpacking that many takes half a minute.
MAX_REDUCED_PIXELS = 4_000_000_000
_MOST_PIECES = 2_000_000
# One piece of a file, and all of an image that is not shrunk, take at most so many bytes.
_MOST_PIECE = 256 * 2**20
# Packed pieces are read so many bytes at once; tifffile alone would read as many as there are, up to 256 MB.
_READ_AT_ONCE = 8 * 2**20
_MOST_WHOLE = 2**31
_MOST_SHRUNK_PIXELS = 32_000_000
_OVERVIEWS = 32


def is_tiff(stream: BinaryIO) -> bool:
    """Whether the file begins as TIFF does; the position is left at the start."""
    stream.seek(0)
    start = stream.read(4)
    stream.seek(0)
    return start in _MAGICS


def read_whole(stream: BinaryIO, rendering: Rendering) -> NDArray[Any]:
    """The page that ``rendering`` chooses in its own values: (h, w) or (h, w, 2 to 4), alpha last if 2 or 4.

    Bands that are no colours are planes, of which the rendering chooses; a file of one page only has such planes.
    """
    with _opened(stream) as file:
        n = len(file.pages)
        if n > 1 and not _has_bands(file.pages[0]):
            planes = combined(n, lambda number: _pixels(file.pages[number]), rendering.plane, kind="page")
        else:
            pixels = _pixels(file.pages[0])
            if not _has_bands(file.pages[0]):
                return pixels
            planes = combined(pixels.shape[2], lambda number: pixels[..., number], rendering.plane, kind="band")
    return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)


def size_of(stream: BinaryIO) -> tuple[int, int]:
    """Width and height of the first page, as stored."""
    with _opened(stream) as file:
        page = file.pages[0]
        return page.imagewidth, page.imagelength


def turn_of(stream: BinaryIO) -> int:
    """The orientation of the first page, 1 to 8."""
    with _opened(stream) as file:
        tag = file.pages[0].tags.get(274)
        return tag.value if tag is not None and tag.value in range(1, 9) else 1


def read_reduced(stream: BinaryIO, max_side: int) -> NDArray[Any]:
    """The first page of a file of any size, with the longer side twice ``max_side`` or more, or what memory allows.

    Each pixel is the mean of a square of the page's (or its overview's). Values and shape as :func:`read_whole`, of
    the first band where there are bands.
    """
    with _opened(stream) as file:
        page = _smallest_enough(file, max_side)
        width, height = page.imagewidth, page.imagelength
        if width * height > MAX_REDUCED_PIXELS:
            refuse_too_large(width, height, MAX_REDUCED_PIXELS)
        fitting = math.ceil(math.sqrt(width * height / _MOST_SHRUNK_PIXELS))
        return _shrunk(page, max(fitting, max(width, height) // (2 * max_side)))


@contextmanager
def _opened(stream: BinaryIO) -> Iterator[Any]:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is said by its problem
    stream.seek(0)
    try:
        with tifffile.TiffFile(stream, _multifile=False) as file:
            if not len(file.pages):
                raise ImageProblem("The TIFF file holds no image; copy or save it again.")
            yield file
    except (ValueError, KeyError) as error:
        if "imagecodecs" not in str(error):
            raise
        raise ImageProblem(
            "The TIFF is compressed in a way that needs the Python package imagecodecs here; install it "
            f"(in HOSHINA: uv sync --extra tiff), or save the file with deflate compression ({error})."
        ) from error


def _has_bands(page: Any) -> bool:
    """Whether its samples are something else than grey, colours and alpha."""
    colours = 3 if page.photometric in {2, 6} else 1
    return bool(page.samplesperpixel not in {colours, colours + 1})


def _pixels(page: Any) -> NDArray[Any]:
    """All of a page, (h, w) or (h, w, samples)."""
    refuse_too_large(page.imagewidth, page.imagelength)
    dtype = page.dtype
    if dtype is None or dtype.kind not in "uif":
        raise ImageProblem("The TIFF holds values that are no plain numbers, which can't be shown.")
    if page.imagedepth > 1:
        raise ImageProblem("The TIFF holds a volume, which can't be shown as an image.")
    _refuse_wrong_pieces(page)
    n_bytes = page.imagewidth * page.imagelength * page.samplesperpixel * dtype.itemsize
    if n_bytes > _MOST_WHOLE:
        raise ImageProblem(f"The image would take {n_bytes / 2**30:.1f} GiB of memory.")
    pixels: NDArray[Any] = page.asarray(maxworkers=1)
    if page.samplesperpixel > 1 and page.planarconfig == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    if page.photometric == 0:  # white is zero
        pixels = np.iinfo(dtype).max - pixels if dtype.kind == "u" else -pixels
    return pixels[..., 0] if page.samplesperpixel == 1 else pixels


def _refuse_wrong_pieces(page: Any) -> None:
    """A damaged size asks for millions of pieces that are not there."""
    wanted, there = int(np.prod(page.chunked)), len(page.dataoffsets)
    if wanted != there:
        raise ImageProblem(
            f"The TIFF is damaged: its size asks for {wanted:,} pieces, and it lists {there:,}. Copy or save it again."
        )
    if wanted > _MOST_PIECES:
        raise ImageProblem(f"The TIFF is cut in too many pieces ({wanted:,}); save it in larger tiles.")


def _smallest_enough(file: Any, max_side: int) -> Any:
    """The first page, or the smallest copy of it that is large enough."""
    first = file.pages[0]
    best = first
    below = list(first.pages[:_OVERVIEWS]) if first.subifds else []
    beside = [file.pages[number] for number in range(1, min(len(file.pages), _OVERVIEWS))]
    for page in (*below, *beside):
        page = page.aspage() if hasattr(page, "aspage") else page
        is_alike = abs(page.imagewidth / page.imagelength * first.imagelength / first.imagewidth - 1) < 0.01
        is_smaller = max_side <= max(page.imagewidth, page.imagelength) < max(best.imagewidth, best.imagelength)
        if is_alike and is_smaller and page.dtype == first.dtype and page.samplesperpixel == first.samplesperpixel:
            best = page
    return best


def _shrunk(page: Any, factor: int) -> NDArray[Any]:
    """Means over squares of ``factor`` pixels, piece by piece."""
    if page.dtype is None or page.dtype.kind not in "uif" or page.imagedepth > 1:
        raise ImageProblem("The TIFF holds values that are no plain numbers of a flat image, which can't be shown.")
    _refuse_wrong_pieces(page)
    n = 1 if _has_bands(page) else page.samplesperpixel
    shape = -(-page.imagelength // factor), -(-page.imagewidth // factor), n
    total = np.zeros(shape, np.float64 if page.dtype.itemsize > 2 else np.float32)
    area = np.zeros(shape[:2], np.int32)
    for piece, y, x, sample in _pieces(page):
        piece = piece[: page.imagelength - y, : page.imagewidth - x]
        if sample >= n or not piece.size:
            continue
        rows, columns = _cuts(y, piece.shape[0], factor), _cuts(x, piece.shape[1], factor)
        # Row by row of squares: several times faster than np.add.reduceat along this axis.
        ends = [*rows[1:], len(piece)]
        sums = np.stack([piece[a:b, :, :n].sum(axis=0, dtype=np.float64) for a, b in zip(rows, ends, strict=True)])
        sums = np.add.reduceat(sums, columns, axis=1)
        at = slice(y // factor, y // factor + len(rows)), slice(x // factor, x // factor + len(columns))
        total[(*at, slice(sample, sample + sums.shape[2]))] += sums
        if sample == 0:
            heights, widths = np.diff(rows, append=piece.shape[0]), np.diff(columns, append=piece.shape[1])
            area[at] += np.outer(heights, widths).astype(np.int32)
    means = total / np.maximum(area, 1)[..., None]
    if page.photometric == 0:
        means = (np.iinfo(page.dtype).max if page.dtype.kind == "u" else 0) - means
    if page.dtype == np.uint8:
        means = np.rint(means).astype(np.uint8)
    return means[..., 0] if n == 1 else means


def _cuts(start: int, length: int, factor: int) -> NDArray[np.int64]:
    """Where within a piece the squares of ``factor`` pixels begin, the first one perhaps before the piece."""
    first = -start % factor
    cuts = np.arange(first, length, factor)
    return cuts if first == 0 else np.concatenate([[0], cuts])


def _pieces(page: Any) -> Iterator[tuple[NDArray[Any], int, int, int]]:
    """Tiles or strips as (rows, columns, samples) with their place: row, column and sample of their first pixel."""
    if page.compression == 1 and page.is_contiguous and page.planarconfig == 1 and not page.is_tiled:
        yield from _rows(page)
        return
    piece = page.chunks
    if int(np.prod(piece)) * page.dtype.itemsize > _MOST_PIECE:
        raise ImageProblem("The TIFF is packed in one piece that is too large for the memory; save it in tiles.")
    for pixels, place, _ in page.segments(maxworkers=1, buffersize=_READ_AT_ONCE):
        if pixels is not None:
            yield pixels[0], place[2], place[3], place[0] if page.planarconfig == 2 else 0


def _rows(page: Any) -> Iterator[tuple[NDArray[Any], int, int, int]]:
    """Rows that lie one after the other, unpacked, some at a time."""
    width, samples = page.imagewidth, page.samplesperpixel
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    step = max(1, _MOST_PIECE // 16 // (width * samples * dtype.itemsize))
    handle = page.parent.filehandle
    handle.seek(page.dataoffsets[0])
    for y in range(0, page.imagelength, step):
        n = min(step, page.imagelength - y)
        content = handle.read(n * width * samples * dtype.itemsize)
        if len(content) < n * width * samples * dtype.itemsize:
            raise ImageProblem(TRUNCATED)
        yield np.frombuffer(content, dtype).reshape(n, width, samples), y, 0, 0
