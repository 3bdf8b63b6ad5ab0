"""Read gigapixel TIFF files reduced: from an overview in the file, or shrunk piece by piece while reading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labeling.images.problems import TRUNCATED, ImageProblem, refuse_too_large
from labeling.images.raster import Raster
from labeling.images.tiff import (
    OVERVIEWS,
    first_page,
    is_mask,
    opened,
    refuse_no_numbers,
    refuse_wrong_pieces,
    whole_page,
)
from labeling.images.tiff_samples import Interpretation

# Limit for images without an overview, which are shrunk while reading. Decoding that many pixels takes half a minute.
MAX_REDUCED_PIXELS = 4_000_000_000
# Largest size of one piece of a file, in bytes.
_MOST_PIECE = 256 * 2**20
# Compressed pieces are read in batches of this many bytes. By default, tifffile reads up to 256 MB at once.
_READ_AT_ONCE = 8 * 2**20
_MOST_SHRUNK_PIXELS = 32_000_000


def read(stream: BinaryIO, max_side: int) -> Raster:
    """Return the first page, reduced to a longer side of at least twice ``max_side`` or to what fits into memory.

    Each pixel is the mean of a square of pixels of the page or its overview. Bands other than the colors, or other than
    the first if there are no colors, are ignored.
    """
    with opened(stream) as file:
        page = _smallest_enough(file, max_side)
        width, height = page.imagewidth, page.imagelength
        if width * height > MAX_REDUCED_PIXELS:
            refuse_too_large(width, height, MAX_REDUCED_PIXELS)
        fitting = math.ceil(math.sqrt(width * height / _MOST_SHRUNK_PIXELS))
        return _shrunk(page, max(fitting, max(width, height) // (2 * max_side)))


def _smallest_enough(file: Any, max_side: int) -> Any:
    """Return the smallest copy of the first full page that is large enough, or the page itself."""
    first = first_page(file)
    best = first
    below = list(first.pages[:OVERVIEWS]) if first.subifds else []
    beside = [file.pages[number] for number in range(min(len(file.pages), OVERVIEWS))]
    for page in map(whole_page, (*below, *beside)):
        is_alike = abs(page.imagewidth / page.imagelength * first.imagelength / first.imagewidth - 1) < 0.01
        is_smaller = max_side <= max(page.imagewidth, page.imagelength) < max(best.imagewidth, best.imagelength)
        is_like_it = page.photometric == first.photometric and page.samplesperpixel == first.samplesperpixel
        if is_alike and is_smaller and is_like_it and page.dtype == first.dtype and not is_mask(page):
            best = page
    return best


def _shrunk(page: Any, factor: int) -> Raster:
    """Return the means over squares of ``factor`` by ``factor`` pixels, without unknown samples."""
    refuse_no_numbers(page)
    refuse_wrong_pieces(page)
    interpretation = Interpretation(page)
    n = interpretation.n_colors if interpretation.alpha is None else interpretation.alpha + 1
    if not interpretation.is_plain and page.planarconfig == 2 and page.samplesperpixel > 1:
        raise ImageProblem("The TIFF has a color space that can't be reduced plane by plane. Save it as RGB.")
    # Palette indices and color space values can't be averaged, but the RGB colors can.
    shape = -(-page.imagelength // factor), -(-page.imagewidth // factor), n if interpretation.is_plain else 3
    total = np.zeros(shape, np.float64 if page.dtype.itemsize > 2 else np.float32)
    n_finite = np.zeros(shape, np.int32)
    for piece, y, x, sample in _pieces(page):
        piece = piece[: page.imagelength - y, : page.imagewidth - x]
        if sample >= n or not piece.size:
            continue
        piece, valid = _with_valid(interpretation, piece[..., :n])
        at = slice(y // factor, None), slice(x // factor, None), slice(sample, sample + piece.shape[2])
        sums = _sums(piece, y, x, factor)
        counts = _areas(piece, y, x, factor) if valid is None else _sums(valid, y, x, factor)
        total[at][: sums.shape[0], : sums.shape[1]] += sums
        n_finite[at][: sums.shape[0], : sums.shape[1]] += counts.astype(np.int32)
    means = total / np.maximum(n_finite, 1)
    unknown = np.asarray(~n_finite[..., : interpretation.n_colors].any(axis=2))
    if interpretation.is_plain:
        return interpretation.raster_of(means, list(range(interpretation.n_colors)), unknown)
    return Raster(np.rint(means).astype(np.uint8), unknown=unknown, is_for_screen=True)


def _with_valid(interpretation: Interpretation, piece: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return samples that can be averaged, with 0 for unknown ones, and the mask of valid samples; None if all are."""
    unknown = interpretation.unknown(piece)
    if not interpretation.is_plain:
        unknown = None if unknown is None else np.asarray(unknown.all(axis=2, keepdims=True))
        piece = interpretation.colors(piece)
    if piece.dtype.kind == "f":
        missing = ~np.isfinite(piece)
        unknown = missing if unknown is None else unknown | missing
    if unknown is None:
        return piece, None
    return np.where(unknown, 0, piece), np.broadcast_to(~unknown, piece.shape)


def _sums(piece: NDArray[Any], y: int, x: int, factor: int) -> NDArray[np.float64]:
    """Return the sums of a piece over the page's squares of ``factor`` pixels; it starts at row ``y``, column ``x``."""
    rows, columns = _cuts(y, piece.shape[0], factor), _cuts(x, piece.shape[1], factor)
    # A loop over rows of squares is several times faster than np.add.reduceat along this axis.
    ends = [*rows[1:], len(piece)]
    sums = np.stack([piece[a:b].sum(axis=0, dtype=np.float64) for a, b in zip(rows, ends, strict=True)])
    return np.asarray(np.add.reduceat(sums, columns, axis=1))


def _areas(piece: NDArray[Any], y: int, x: int, factor: int) -> NDArray[np.int64]:
    """Return the number of pixels of the piece in each square, (rows, columns, 1)."""
    heights = np.diff(_cuts(y, piece.shape[0], factor), append=piece.shape[0])
    widths = np.diff(_cuts(x, piece.shape[1], factor), append=piece.shape[1])
    return np.asarray(np.outer(heights, widths)[..., None])


def _cuts(start: int, length: int, factor: int) -> NDArray[np.int64]:
    """Return the positions in a piece where squares of ``factor`` pixels begin; 0 for one that begins before it."""
    first = -start % factor
    cuts = np.arange(first, length, factor)
    return cuts if first == 0 else np.concatenate([[0], cuts])


def _pieces(page: Any) -> Iterator[tuple[NDArray[Any], int, int, int]]:
    """Yield tiles or strips (rows, columns, samples) with the row, column and sample of their first pixel."""
    if page.compression == 1 and page.is_contiguous and page.planarconfig == 1 and not page.is_tiled:
        yield from _rows(page)
        return
    piece = page.chunks
    if int(np.prod(piece)) * page.dtype.itemsize > _MOST_PIECE:
        raise ImageProblem("The TIFF is compressed in one piece that is too large for the memory. Save it in tiles.")
    for pixels, place, _ in page.segments(maxworkers=1, buffersize=_READ_AT_ONCE):
        if pixels is not None:
            yield pixels[0], place[2], place[3], place[0] if page.planarconfig == 2 else 0


def _rows(page: Any) -> Iterator[tuple[NDArray[Any], int, int, int]]:
    """Yield batches of rows of a contiguous, uncompressed page."""
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
