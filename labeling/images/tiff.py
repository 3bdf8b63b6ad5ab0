"""Read TIFF files that Pillow cannot read or misinterprets: many bands, float colors, white at zero, "no data" values.

Uses tifffile, which is imported when such a file is opened. For gigapixel images see labeling.images.tiff_reduced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labeling.images.cielab import is_d50, white_point_in
from labeling.images.planes import combine
from labeling.images.problems import TRUNCATED, ImageProblem, refuse_too_large
from labeling.images.raster import Raster
from labeling.images.rendering import Rendering
from labeling.images.tiff_samples import (
    CIELAB,
    COLORS,
    EXTRA_SAMPLES,
    LABS,
    NO_DATA,
    PALETTE,
    WHITE_IS_ZERO,
    WHITE_POINT,
    Interpretation,
    tag_of,
)

# Returns the samples of a page, (h, w, n), or None.
Pixels = Callable[[Any], NDArray[Any] | None]

_MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_MOST_PIECES = 2_000_000
_MOST_WHOLE = 2**31
OVERVIEWS = 32
# Tags of TIFF 6.0: NewSubfileType and its predecessor SubfileType.
SUBFILE, OLD_SUBFILE = 254, 255
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _LAYOUT, _KIND = 258, 259, 262, 277, 284, 339
# None, CCITT, LZW, JPEG, deflate, PackBits.
_USUAL_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946})
_JPEGS = frozenset({6, 7})
_SEPARATE, _UNSIGNED, _SIGNED = 2, 1, 2


def is_tiff(stream: BinaryIO) -> bool:
    """Return whether the file is TIFF. Leave the stream at its start."""
    stream.seek(0)
    start = stream.read(4)
    stream.seek(0)
    return start in _MAGICS


def is_large_big_endian(stream: BinaryIO) -> bool:
    """Return whether the file is a big-endian BigTIFF, whose tags Pillow misreads. Leave the stream at its start."""
    start = stream.read(4)
    stream.seek(0)
    return start == _MAGICS[3]


def read(stream: BinaryIO, rendering: Rendering, by_pillow: Pixels | None = None) -> Raster:
    """Return the page or bands that ``rendering`` selects.

    If the first page has bands other than colors, these are the planes. Otherwise, the pages are. ``by_pillow`` returns
    the samples of the first page if tifffile lacks a codec.
    """
    with opened(stream) as file:
        page = _checked(first_page(file))
        interpretation = Interpretation(page)
        pages = [page] if rendering.plane == "first" or interpretation.bands else main_pages(file)
        if len(pages) > 1:
            return _of_pages(pages, rendering)
        samples, missing = _available_samples(page, by_pillow, rendering)
        raster = (
            _of_bands(interpretation, samples, rendering) if interpretation.bands else interpretation.raster(samples)
        )
        return replace(raster, missing=missing)


def has_usual_compression(stream: BinaryIO) -> bool:
    """Return whether every build of Pillow can decompress the first full page."""
    with opened(stream) as file:
        return int(first_page(file).compression) in _USUAL_COMPRESSIONS


@dataclass(frozen=True, slots=True)
class About:
    """The stored size, orientation and revision (labeling.images.revisions) of the first full page."""

    size: tuple[int, int]
    turn: int
    revision: int


def describe(stream: BinaryIO) -> About:
    """Read the header of the first full page."""
    with opened(stream) as file:
        page = first_page(file)
        tags = {tag.code: tag.value for tag in page.tags}
        was_swapped = is_swapped(tags) and file.byteorder == ">" and page.compression != 1
        revision = int(is_reinterpreted(tags) or was_swapped or page is not file.pages[0])
        return About((page.imagewidth, page.imagelength), Interpretation(page).turn, revision)


def main_pages(file: Any) -> list[Any]:
    """Return the pages that are neither smaller copies nor masks of others; the first page if there are none."""
    return [page for page in map(whole_page, file.pages) if not _is_of_another(page)] or [first_page(file)]


def first_page(file: Any) -> Any:
    """Return the first page or, as in raw formats, subpage that is no copy or mask of another; else the first page."""
    for page in map(whole_page, file.pages):
        if not _is_of_another(page):
            return page
    first = file.pages[0]
    below = map(whole_page, first.pages[:OVERVIEWS]) if first.subifds else ()
    return next((page for page in below if not _is_of_another(page)), first)


def _is_of_another(page: Any) -> bool:
    return is_copy(tag_of(page, SUBFILE), tag_of(page, OLD_SUBFILE))


def is_mask(page: Any) -> bool:
    """Return whether the page is a transparency mask of another page."""
    return bool(int(tag_of(page, SUBFILE) or 0) & 0b100)


def is_copy(kind: Any, old_kind: Any) -> bool:
    """Return whether the tags NewSubfileType and SubfileType declare a smaller copy or a mask of another page."""
    return bool(int(kind or 0) & 0b101) or old_kind == 2


def is_mistaken(tags: Mapping[int, Any], is_big_endian: bool) -> bool:
    """Return whether Pillow opens a page with these tags but misinterprets it."""
    is_deep = max(_numbers(tags.get(_BITS, 1))) > 8
    is_separate = tags.get(_SAMPLES, 1) > 1 and tags.get(_LAYOUT, 1) == _SEPARATE
    return (is_deep and is_separate) or (is_big_endian and is_swapped(tags)) or is_reinterpreted(tags)


def is_swapped(tags: Mapping[int, Any]) -> bool:
    """Return whether Pillow swaps the bytes of samples once too often in a compressed file of the other byte order."""
    return max(_numbers(tags.get(_BITS, 1))) > 8 and _numbers(tags.get(_KIND, _UNSIGNED))[0] != _UNSIGNED


def is_reinterpreted(tags: Mapping[int, Any]) -> bool:
    """Return whether earlier versions of HOSHINA interpreted the samples of a page with these tags differently."""
    bits = max(_numbers(tags.get(_BITS, 1)))
    kind = _numbers(tags.get(_KIND, _UNSIGNED))[0]
    photometric, n = int(tags.get(_PHOTOMETRIC, WHITE_IS_ZERO)), int(tags.get(_SAMPLES, 1))
    extras = _numbers(tags.get(EXTRA_SAMPLES, ()))
    n_alpha = sum(extra in (1, 2) for extra in extras[:1])
    return (
        NO_DATA in tags
        or (photometric == WHITE_IS_ZERO and (bits > 8 or kind != _UNSIGNED))
        or (kind == _SIGNED and bits == 8)
        or (kind == _UNSIGNED and bits == 32)
        or (photometric in LABS and (bits > 8 or photometric != CIELAB or _has_odd_white(tags)))
        or (photometric == PALETTE and (bits > 8 or n > 1))
        or n - COLORS.get(photometric, 1) > n_alpha
    )


def _has_odd_white(tags: Mapping[int, Any]) -> bool:
    """Return whether L*a*b* has another white point than D50, which Pillow assumes. JPEG is always left to Pillow."""
    return tags.get(_COMPRESSION) not in _JPEGS and not is_d50(white_point_in(tags.get(WHITE_POINT)))


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value),)


@contextmanager
def opened(stream: BinaryIO) -> Iterator[Any]:
    """Open a file with tifffile. Raises ImageProblem if it has no pages or needs imagecodecs."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # ImageProblem reports defects of files
    stream.seek(0)
    try:
        with tifffile.TiffFile(stream, _multifile=False) as file:
            if not len(file.pages):
                raise ImageProblem("The TIFF file contains no image. Copy or save it again.")
            yield file
    except (ValueError, KeyError) as error:
        if "imagecodecs" not in str(error):
            raise
        raise ImageProblem(
            f"The compression of this TIFF needs the Python package imagecodecs ({error}). Install it (in HOSHINA: "
            "uv sync --extra tiff), or save the file with deflate compression."
        ) from error


def _of_pages(pages: list[Any], rendering: Rendering) -> Raster:
    """Return one page, or a combination of pages."""
    if isinstance(rendering.plane, int) and rendering.plane < len(pages):
        page = _checked(pages[rendering.plane])
        return Interpretation(page).raster(_samples(page))

    def plane(number: int) -> NDArray[Any]:
        page = _checked(pages[number])
        raster = Interpretation(page).raster(_samples(page))
        return raster.plane if rendering.plane == "rgb" else raster.values

    return _raster_of(combine(len(pages), plane, rendering.plane, kind="page"), Interpretation(pages[0]).is_for_screen)


def _of_bands(interpretation: Interpretation, samples: NDArray[Any], rendering: Rendering) -> Raster:
    """Return one band, or a combination of bands."""
    bands = interpretation.bands
    if rendering.plane in {"first", "rgb"} and interpretation.n_colors == 3:
        return interpretation.raster(samples)
    number = 0 if rendering.plane == "first" else rendering.plane
    if isinstance(number, int) and number < len(bands):
        return interpretation.raster(samples, bands[number])

    def plane(number: int) -> NDArray[Any]:
        return interpretation.raster(samples, bands[number]).values

    return _raster_of(combine(len(bands), plane, rendering.plane, kind="band"), interpretation.is_for_screen)


def _raster_of(planes: list[NDArray[Any]], is_for_screen: bool) -> Raster:
    values = planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)
    unknown = np.zeros(values.shape[:2], np.bool_)
    if values.dtype.kind == "f" and is_for_screen:
        missing = np.isnan(values)
        unknown = missing if missing.ndim == 2 else missing.all(axis=2)
        values = np.rint(np.nan_to_num(values)).astype(np.uint8)
    return Raster(values, unknown=unknown, is_for_screen=is_for_screen and values.dtype == np.uint8)


def whole_page(page: Any) -> Any:
    """Return the page with its own tags, since tifffile reads some pages as frames with the tags of the first."""
    return page.aspage() if hasattr(page, "aspage") else page


def _checked(page: Any) -> Any:
    """Return the page. Raises ImageProblem unless it is a two-dimensional image of numbers that fits into memory."""
    refuse_too_large(page.imagewidth, page.imagelength)
    refuse_no_numbers(page)
    refuse_wrong_pieces(page)
    n_bytes = page.imagewidth * page.imagelength * page.samplesperpixel * page.dtype.itemsize
    if n_bytes > _MOST_WHOLE:
        raise ImageProblem(f"The image needs {n_bytes / 2**30:.1f} GiB of memory, which is too much. Save it smaller.")
    return page


def refuse_no_numbers(page: Any) -> None:
    """Raise ImageProblem for samples that are not numbers, and for volumes."""
    if page.dtype is None or page.dtype.kind not in "uifb":
        raise ImageProblem("The values of this TIFF are not plain numbers and can't be displayed.")
    if page.imagedepth > 1:
        raise ImageProblem("The TIFF contains a volume, which can't be displayed as an image.")


def _available_samples(
    page: Any, by_pillow: Pixels | None, rendering: Rendering
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the samples of a page and None; or, for a truncated page, the available samples and the missing mask."""
    try:
        return _samples_or(page, by_pillow), None
    except Exception as error:
        if not rendering.shows_cut or "imagecodecs" in str(error):
            raise
        return _samples_there(page)


def _samples_or(page: Any, by_pillow: Pixels | None) -> NDArray[Any]:
    """Return the samples of a page, decoded by Pillow if tifffile lacks the codec and Pillow has it."""
    try:
        return _samples(page)
    except (ValueError, KeyError) as error:
        if "imagecodecs" not in str(error) or by_pillow is None or (samples := by_pillow(page)) is None:
            raise
        return samples


def _samples(page: Any) -> NDArray[Any]:
    """Return the samples of a page, (h, w, samples)."""
    pixels: NDArray[Any] = page.asarray(maxworkers=1)
    if page.samplesperpixel > 1 and page.planarconfig == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    return pixels.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)


def refuse_wrong_pieces(page: Any) -> None:
    """Raise ImageProblem for a damaged size, which implies millions of missing pieces, and for too many pieces."""
    n_expected, n_listed = int(np.prod(page.chunked)), len(page.dataoffsets)
    if n_expected != n_listed:
        raise ImageProblem(
            f"The TIFF is damaged: its size requires {n_expected:,} pieces, and it lists {n_listed:,}. "
            "Copy or save it again."
        )
    if n_expected > _MOST_PIECES:
        raise ImageProblem(f"The TIFF has too many pieces ({n_expected:,}). Save it in larger tiles.")


# -- Truncated files ------------------------------------------------------------------------------------
def _samples_there(page: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return samples (h, w, n), 0 if missing, and the missing mask (h, w). Raises ImageProblem if all are missing."""
    shape = page.imagelength, page.imagewidth, page.samplesperpixel
    samples = np.zeros(shape, page.dtype)
    n_there = np.zeros(shape[:2], np.uint16)
    for index in range(len(page.dataoffsets)):
        content, n_rows = _piece(page, index)
        if not n_rows:
            continue
        try:
            decoded, place, _ = page.decode(content, index, jpegtables=page.jpegtables)
        except Exception:  # noqa: BLE001, S112 - part of a piece raises anything, and counts as missing
            continue
        if decoded is None:
            continue
        y, x = place[2], place[3]
        pixels = decoded[0][: min(n_rows, shape[0] - y), : shape[1] - x]
        first = place[0] if page.planarconfig == 2 else 0
        at = slice(y, y + pixels.shape[0]), slice(x, x + pixels.shape[1])
        samples[(*at, slice(first, first + pixels.shape[2]))] = pixels
        n_there[at] += 1
    missing = n_there < (shape[2] if page.planarconfig == 2 else 1)
    if missing.all():
        raise ImageProblem(TRUNCATED)
    return samples, np.asarray(missing)


def _piece(page: Any, index: int) -> tuple[bytes, int]:
    """Return the bytes of a strip or tile, and the number of complete rows in them: all or none if compressed."""
    offset, n_bytes = page.dataoffsets[index], page.databytecounts[index]
    handle = page.parent.filehandle
    handle.seek(offset)
    content = handle.read(n_bytes)
    n_rows = page.chunks[0]
    if len(content) == n_bytes:
        return content, n_rows
    if page.compression != 1 or page.is_tiled:
        return b"", 0
    whole = len(content) * n_rows // n_bytes
    return content.ljust(n_bytes, b"\x00"), whole
