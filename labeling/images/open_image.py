"""Open image files of all supported formats as they are displayed: the selected frame, upright, in RGB.

All users of pixels (thumbnails, full view, model inputs) open images here, so that they see the same.
"""

from __future__ import annotations

import os
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFile, UnidentifiedImageError, features

from labeling.images import dicom, fits, jpegxl, tiff, tiff_reduced, truncated_files
from labeling.images.color import to_rgb, unusual_gamma
from labeling.images.high_bit_depth import is_deep, picture_of, values_of
from labeling.images.orientation import SIDEWAYS, UPRIGHT, orientation, undo_upright
from labeling.images.planes import combine
from labeling.images.problems import MAX_PIXELS, ImageProblem, refuse_too_large
from labeling.images.raster import refuse_unknown
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.source_file import FORMATS, as_image_problems, regular_file, unsupported_reason
from labeling.images.stretch import stretch
from labeling.images.tiff_samples import Interpretation

__all__ = ["DEFAULT_EXTENSIONS", "FORMATS", "MAX_PIXELS", "ImageProblem", "open_image"]

_PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000")
DEFAULT_EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif", ".heic", ".heif",
    ".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".jpc", ".jxl",
    *fits.EXTENSIONS, *dicom.EXTENSIONS,
)  # fmt: skip

# Images larger than this are decoded one at a time, so that a few threads do not exhaust the memory.
_LARGE_PIXELS = 40_000_000
_one_large: AbstractContextManager[object] = threading.Lock()

# Pillow only warns at its own limit. MAX_PIXELS is checked here instead.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# Common names of formats that Pillow names differently.
_NAMES = {"MPO": "JPEG", "JPEG2000": "JPEG 2000"}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")


def open_image(
    path: str | os.PathLike[str], *, max_side: int | None = None, rendering: Rendering = DEFAULT
) -> Image.Image:
    """Open an image file as RGB, upright.

    Parameters
    ----------
    path : A file in one of FORMATS, identified by its content, not by its name.
    max_side : Largest allowed longer side of the result, in pixels. Smaller images keep their size. If given, JPEG
        files are decoded at a fraction of their size, which is several times faster, and TIFF files larger than
        MAX_PIXELS are reduced piece by piece. Otherwise such TIFF files are refused.
    rendering : Which frame or plane to show, how to stretch more than 8 bits, and the color under transparent pixels.
        The defaults are the first frame, zscale for FITS and percentiles for other formats, and medium gray.

    Raises ImageProblem if the file cannot be read as an image, with a readable reason.
    """
    with as_image_problems(), regular_file(path) as stream:
        image = decoded(stream, max_side, rendering).image
        return image if max_side is None else shrink(image, max_side)


def open_for_resizing(path: str | os.PathLike[str], side: int, rendering: Rendering = DEFAULT) -> Image.Image:
    """Open an image that is going to be resized, at the size that is cheapest to decode.

    The longer side has at least ``side`` pixels if the file has that many. See :func:`open_image`.
    """
    with as_image_problems(), regular_file(path) as stream:
        return decoded(stream, side, rendering).image


def shrink(image: Image.Image, max_side: int) -> Image.Image:
    """Shrink the image in place until its longer side is at most ``max_side`` pixels, and return it."""
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image before :func:`open_image` shrinks it to its final size.

    ``size``: size of the whole image. ``note``: a defect of the file that does not prevent display; usually empty.
    ``revision``: see labeling.images.revisions.
    """

    format: str
    image: Image.Image
    size: tuple[int, int]
    note: str = ""
    revision: int = 0


def decoded(stream: BinaryIO, max_side: int | None = None, rendering: Rendering = DEFAULT) -> Decoded:
    """Decode the image in ``stream``. Raises ImageProblem and any exception of the decoders."""
    if fits.is_fits(stream):
        image, revision, missing = fits.read_picture(stream, rendering)
        return Decoded("FITS", image, image.size, truncated_files.note_of(missing) if missing else "", revision)
    if dicom.is_dicom(stream):
        return _whole("DICOM", *dicom.read(stream, rendering))
    if jpegxl.is_jpegxl(stream):
        return _whole("JPEG XL", jpegxl.read(stream).picture(rendering))
    if tiff.is_tiff(stream):
        return _tiff(stream, max_side, rendering)
    return _raster(stream, max_side, rendering)


def _whole(name: str, image: Image.Image, revision: int = 0) -> Decoded:
    return Decoded(name, image, image.size, revision=revision)


# -- Formats that Pillow reads ----------------------------------------------------------------------------
def _raster(stream: BinaryIO, max_side: int | None, rendering: Rendering) -> Decoded:
    """Decode a file that Pillow reads. A large JPEG is decoded at little more than ``max_side`` pixels."""
    try:
        return _complete(stream, max_side, rendering)
    except (OSError, EOFError, SyntaxError) as error:
        if not truncated_files.is_cut(error):
            raise
        repaired = truncated_files.repair(stream, rendering.shows_cut)
        if repaired is None:
            raise
    image = _complete(BytesIO(repaired.content), max_side, rendering)
    return replace(image, note=repaired.note)


def _complete(stream: BinaryIO, max_side: int | None, rendering: Rendering, page: int = 0) -> Decoded:
    with seek_frame(open_header(stream), page) as source, large_image_lock(source):
        # Cameras that store several pictures in one JPEG file use MPO.
        name = _NAMES.get(str(source.format), str(source.format))
        width, height = source.size
        if max_side is not None:
            source.draft("RGB", (max_side, max_side))
        is_drafted = source.size != (width, height)
        image = _of_frames(source, stream, name, rendering) or _of_first(source, stream, rendering, page)
        turn = orientation(source)
        if not is_drafted:
            width, height = image.size
    if turn in UPRIGHT:
        image = image.transpose(UPRIGHT[turn])
        if turn in SIDEWAYS:
            width, height = height, width
    is_rendered_differently = page > 0 or bool(unusual_gamma(source) and not is_deep(source))
    return Decoded(name, image, (width, height), revision=int(is_rendered_differently))


def _of_first(source: ImageFile.ImageFile, stream: BinaryIO, rendering: Rendering, page: int) -> Image.Image:
    if is_deep(source):
        return picture_of(values_of(source, lambda: seek_frame(open_header(stream), page)), rendering)
    source.load()
    return to_rgb(source, rendering)


def _of_frames(source: ImageFile.ImageFile, stream: BinaryIO, name: str, rendering: Rendering) -> Image.Image | None:
    """Return the frame, or combination of frames, that the rendering selects; None for the first or only frame."""
    if rendering.plane == "first" or name == "JPEG":
        return None
    n = getattr(source, "n_frames", 1)
    if n < 2:
        return None
    upright = replace(rendering, is_inverted=False)
    is_colored = rendering.plane != "rgb"

    def read(number: int) -> NDArray[Any]:
        source.seek(number)
        refuse_too_large(*source.size)
        if is_deep(source):
            return values_of(source, lambda: seek_frame(open_header(stream), number))
        frame = to_rgb(source, upright)
        return np.asarray(frame if is_colored else frame.convert("L"))

    planes = combine(n, read, rendering.plane, kind="frame")
    if planes[0].dtype != np.uint8:
        refuse_unknown(*planes)
        if len(planes) == 1:
            return picture_of(planes[0], rendering)
        # Red, green and blue are stretched separately.
        return Image.fromarray(np.stack([stretch(plane, rendering) for plane in planes], axis=-1))
    image = Image.fromarray(planes[0] if len(planes) == 1 else np.stack(planes, axis=-1))
    return ImageChops.invert(image) if rendering.is_inverted else image


def seek_frame(image: ImageFile.ImageFile, number: int) -> ImageFile.ImageFile:
    """Move ``image`` to frame ``number`` and return it."""
    if number:
        image.seek(number)
        refuse_too_large(*image.size)
    return image


# -- TIFF -----------------------------------------------------------------------------------------
def _tiff(stream: BinaryIO, max_side: int | None, rendering: Rendering) -> Decoded:
    """Decode with Pillow if it supports and correctly interprets this TIFF and the image is not too large."""
    page = page_for_pillow(stream, rendering)
    if page is not None:
        try:
            return _complete(stream, max_side, rendering, page)
        except OSError:
            # tifffile handles compressions that Pillow lacks and truncated files. For others, raise Pillow's error.
            if tiff.has_usual_compression(stream) and not rendering.shows_cut:
                raise
            return _unusual_tiff(stream, max_side, rendering)
    return _unusual_tiff(stream, max_side, rendering)


def page_for_pillow(stream: BinaryIO, rendering: Rendering) -> int | None:
    """Return the number of the first full page if Pillow reads it correctly, else None."""
    if tiff.is_large_big_endian(stream):
        return None
    try:
        with Image.open(stream, formats=["TIFF"]) as image:
            if rendering.plane != "first" and getattr(image, "n_frames", 1) > 1 and _has_copies(image):
                return None
            number = _first_full(image)
            tags: Any = image.tag_v2  # type: ignore[attr-defined] # those of TIFF
            is_big_endian = tags.prefix.startswith(b"MM")
            is_fit = image.width * image.height <= MAX_PIXELS and not tiff.is_mistaken(tags, is_big_endian)
            return number if is_fit else None
    except (UnidentifiedImageError, EOFError, SyntaxError):
        return None
    finally:
        stream.seek(0)


def _first_full(image: Any) -> int:
    """Move to the first page that is neither a smaller copy nor a mask of another, and return its number."""
    number = 0
    while tiff.is_copy(image.tag_v2.get(tiff.SUBFILE), image.tag_v2.get(tiff.OLD_SUBFILE)):
        number += 1
        image.seek(number)  # raises EOFError after the last page; the image may then be a subpage
    return number


def _has_copies(image: Any) -> bool:
    for number in range(image.n_frames):
        image.seek(number)
        if tiff.is_copy(image.tag_v2.get(tiff.SUBFILE), image.tag_v2.get(tiff.OLD_SUBFILE)):
            return True
    image.seek(0)
    return False


def _unusual_tiff(stream: BinaryIO, max_side: int | None, rendering: Rendering) -> Decoded:
    about = tiff.describe(stream)
    width, height = about.size
    if width * height > MAX_PIXELS:
        if max_side is None:
            raise ImageProblem(f"The image has {width * height / 1e6:,.0f} megapixels. It can only be opened reduced.")
        with _one_large:
            raster = tiff_reduced.read(stream, max_side)
    else:
        raster = tiff.read(stream, rendering, partial(samples_by_pillow, stream))
        height, width = raster.colors.shape[:2]
    image = raster.picture(rendering)
    if about.turn in SIDEWAYS:
        width, height = height, width
    image = image.transpose(UPRIGHT[about.turn]) if about.turn in UPRIGHT else image
    note = "" if raster.missing is None else truncated_files.note_of(float(raster.missing.mean()))
    return Decoded("TIFF", image, (width, height), note, about.revision)


def samples_by_pillow(stream: BinaryIO, page: Any) -> NDArray[Any] | None:
    """Return the stored samples (h, w, 1) of a gray page of tifffile if Pillow has the codec, else None."""
    if page.samplesperpixel != 1 or page.dtype.itemsize > 4 or page.bitspersample not in {8, 16, 32}:
        return None
    try:
        with seek_frame(open_header(stream), page.index) as image:
            is_inverted = image.mode == "L" and page.photometric == 0
            turn = Interpretation(page).turn
            values = values_of(image, lambda: open_header(stream)) if is_deep(image) else np.asarray(image)
    except (OSError, ImageProblem):
        return None
    if values.ndim != 2 or values.dtype.itemsize < page.dtype.itemsize:
        return None
    if values.dtype.itemsize > page.dtype.itemsize:
        values = values.astype(page.dtype)
    values = np.ascontiguousarray(undo_upright(255 - values if is_inverted else values, turn))
    stored = values.astype(values.dtype.newbyteorder("="), copy=False).view(page.dtype.newbyteorder("="))
    return np.asarray(stored[..., None])


def open_header(stream: BinaryIO) -> ImageFile.ImageFile:
    """Open the image in ``stream``, reading only its header. Raises ImageProblem if too large or not an image."""
    try:
        image = Image.open(stream, formats=_formats_of(stream))
    except UnidentifiedImageError as error:
        raise ImageProblem(unsupported_reason(stream)) from error
    width, height = image.size
    refuse_too_large(width, height)
    return image


def _formats_of(stream: BinaryIO) -> tuple[str, ...]:
    """Return the formats that Pillow tries. Registers the HEIF decoder, or raises ImageProblem if it is missing."""
    stream.seek(0)
    start = stream.read(12)
    stream.seek(0)
    if start[4:8] != b"ftyp":
        return _PILLOW_FORMATS
    if start[8:12] in _AVIF_BRANDS:
        if not features.check("avif"):
            raise ImageProblem("This is an AVIF image. To show it, install Pillow 11.3 or newer, built with AVIF.")
        return ("AVIF",)
    if start[8:12] not in _HEIF_BRANDS:
        raise ImageProblem("This is not an image but a video, or in a format that HOSHINA cannot read.")
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageProblem(
            "This is a HEIF image. To show it, install the Python package pillow-heif "
            "(in HOSHINA: uv sync --extra heif)."
        ) from error
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def large_image_lock(image: Image.Image) -> AbstractContextManager[object]:
    """Return the lock for decoding a large image, or a context without effect if the image is small."""
    return _one_large if image.width * image.height > _LARGE_PIXELS else nullcontext()


def take_turns_at(file: Path) -> None:
    """Share the lock for large images with all processes that call this with the same ``file``."""
    global _one_large
    _one_large = FileLock(file)
