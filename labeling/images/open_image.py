"""Open any supported image file the way a person would see it: the chosen frame, upright, RGB.

Everything that looks at pixels (thumbnail, full view, model input) comes through here, so that all see the
same.
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
from labeling.images.orientation import SIDEWAYS, UPRIGHT, orientation, turned_back
from labeling.images.planes import combined
from labeling.images.problems import MAX_PIXELS, ImageProblem, refuse_too_large
from labeling.images.raster import refuse_unknown
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.source_file import FORMATS, in_plain_words, regular_file, what_else
from labeling.images.stretch import stretch
from labeling.images.tiff_samples import Meaning

__all__ = ["DEFAULT_EXTENSIONS", "FORMATS", "MAX_PIXELS", "ImageProblem", "open_image"]

_PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000")
DEFAULT_EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif", ".heic", ".heif",
    ".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".jpc", ".jxl",
    *fits.EXTENSIONS, *dicom.EXTENSIONS,
)  # fmt: skip

# Of images larger than this one is unpacked at a time, so that a few threads do not fill the memory.
_LARGE_PIXELS = 40_000_000
_one_large: AbstractContextManager[object] = threading.Lock()

# Pillow only warns at its own limit; MAX_PIXELS is checked here instead.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# What Pillow calls otherwise than people do.
_NAMES = {"MPO": "JPEG", "JPEG2000": "JPEG 2000"}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")


def open_image(
    path: str | os.PathLike[str], *, max_side: int | None = None, rendering: Rendering = DEFAULT
) -> Image.Image:
    """Open an image file as RGB, upright.

    Parameters
    ----------
    path
        A file of one of FORMATS; its content decides, not its name.
    max_side
        The longer side in pixels of the result at most; smaller images keep their size. JPEG files are then
        unpacked at a fraction of their size, which is several times faster, and TIFF files larger than MAX_PIXELS
        piece by piece; without it they are refused.
    rendering
        Which of several frames or planes, how more than 8 bits are stretched, what lies under transparent pixels.
        Usually the first, zscale for FITS and percentiles for other images, mid grey.

    Raises
    ------
    ImageProblem
        When no image can be got from the file, with the reason in plain words.
    """
    with in_plain_words(), regular_file(path) as stream:
        image = decoded(stream, max_side, rendering).image
        return image if max_side is None else shrink(image, max_side)


def open_for_resizing(path: str | os.PathLike[str], side: int, rendering: Rendering = DEFAULT) -> Image.Image:
    """As :func:`open_image`, of whatever size comes cheapest and has at least ``side`` pixels where the file has them:
    for whoever resizes it anyway."""
    with in_plain_words(), regular_file(path) as stream:
        return decoded(stream, side, rendering).image


def shrink(image: Image.Image, max_side: int) -> Image.Image:
    """The image itself, its longer side at most ``max_side`` pixels from now on."""
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as :func:`open_image` gives it before it is shrunk for good.

    ``size``: of the whole image. ``note``: what is wrong with the file although it can be shown; usually empty.
    ``revision``: as in labeling.images.revisions.
    """

    format: str
    image: Image.Image
    size: tuple[int, int]
    note: str = ""
    revision: int = 0


def decoded(stream: BinaryIO, max_side: int | None = None, rendering: Rendering = DEFAULT) -> Decoded:
    """Decode the image in ``stream``. Raises ImageProblem, and whatever else decoders raise."""
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


# -- What Pillow reads ----------------------------------------------------------------------------
def _raster(stream: BinaryIO, max_side: int | None, rendering: Rendering) -> Decoded:
    """As :func:`decoded`; at most a little larger than ``max_side`` when the file is a large JPEG."""
    try:
        return _complete(stream, max_side, rendering)
    except (OSError, EOFError, SyntaxError) as error:
        if not truncated_files.is_cut(error):
            raise
        mended = truncated_files.mended(stream, rendering.shows_cut)
        if mended is None:
            raise
    found = _complete(BytesIO(mended.content), max_side, rendering)
    return replace(found, note=mended.note)


def _complete(stream: BinaryIO, max_side: int | None, rendering: Rendering, page: int = 0) -> Decoded:
    with at_frame(identified(stream), page) as source, one_at_a_time_if_large(source):
        # MPO is what cameras make that store several pictures in one JPEG file.
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
    is_shown_otherwise = page > 0 or bool(unusual_gamma(source) and not is_deep(source))
    return Decoded(name, image, (width, height), revision=int(is_shown_otherwise))


def _of_first(source: ImageFile.ImageFile, stream: BinaryIO, rendering: Rendering, page: int) -> Image.Image:
    if is_deep(source):
        return picture_of(values_of(source, lambda: at_frame(identified(stream), page)), rendering)
    source.load()
    return to_rgb(source, rendering)


def _of_frames(source: ImageFile.ImageFile, stream: BinaryIO, name: str, rendering: Rendering) -> Image.Image | None:
    """What the rendering chooses of several frames; None where there is one, or the first is wanted."""
    if rendering.plane == "first" or name == "JPEG":
        return None
    n = getattr(source, "n_frames", 1)
    if n < 2:
        return None
    upright = replace(rendering, is_inverted=False)
    is_coloured = rendering.plane != "rgb"

    def read(number: int) -> NDArray[Any]:
        source.seek(number)
        refuse_too_large(*source.size)
        if is_deep(source):
            return values_of(source, lambda: at_frame(identified(stream), number))
        frame = to_rgb(source, upright)
        return np.asarray(frame if is_coloured else frame.convert("L"))

    planes = combined(n, read, rendering.plane, kind="frame")
    if planes[0].dtype != np.uint8:
        return _picture(planes, rendering)
    image = Image.fromarray(planes[0] if len(planes) == 1 else np.stack(planes, axis=-1))
    return ImageChops.invert(image) if rendering.is_inverted else image


def at_frame(image: ImageFile.ImageFile, number: int) -> ImageFile.ImageFile:
    """The same, at one of its frames."""
    if number:
        image.seek(number)
        refuse_too_large(*image.size)
    return image


def _picture(planes: list[NDArray[Any]], rendering: Rendering) -> Image.Image:
    """Deep planes: one as it is, three as red, green and blue, each stretched on its own."""
    refuse_unknown(*planes)
    if len(planes) == 1:
        return picture_of(planes[0], rendering)
    return Image.fromarray(np.stack([stretch(plane, rendering) for plane in planes], axis=-1))


# -- TIFF -----------------------------------------------------------------------------------------
def _tiff(stream: BinaryIO, max_side: int | None, rendering: Rendering) -> Decoded:
    """By Pillow if it knows that kind of TIFF, doesn't mistake it, and the image is not too large as a whole."""
    page = page_for_pillow(stream, rendering)
    if page is not None:
        try:
            return _complete(stream, max_side, rendering, page)
        except OSError:
            # A compression that this Pillow lacks, or a cut file; of others what Pillow says of the damage counts.
            if tiff.has_usual_compression(stream) and not rendering.shows_cut:
                raise
            return _unusual_tiff(stream, max_side, rendering)
    return _unusual_tiff(stream, max_side, rendering)


def page_for_pillow(stream: BinaryIO, rendering: Rendering) -> int | None:
    """Return the number of the first full page if Pillow can be trusted with it, else None."""
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
    """Go to the first page that is neither a smaller copy nor a mask of another, and return its number."""
    number = 0
    while tiff.is_copy(image.tag_v2.get(tiff.SUBFILE), image.tag_v2.get(tiff.OLD_SUBFILE)):
        number += 1
        image.seek(number)  # raises EOFError behind the last: then it may lie below another page
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
            raise ImageProblem(f"The image has {width * height / 1e6:,.0f} megapixels: it can only be opened reduced.")
        with _one_large:
            raster = tiff_reduced.read(stream, max_side)
    else:
        raster = tiff.read(stream, rendering, partial(samples_by_pillow, stream))
        height, width = raster.colours.shape[:2]
    image = raster.picture(rendering)
    if about.turn in SIDEWAYS:
        width, height = height, width
    image = image.transpose(UPRIGHT[about.turn]) if about.turn in UPRIGHT else image
    note = "" if raster.missing is None else truncated_files.note_of(float(raster.missing.mean()))
    return Decoded("TIFF", image, (width, height), note, about.revision)


def samples_by_pillow(stream: BinaryIO, page: Any) -> NDArray[Any] | None:
    """Samples (h, w, 1) of one of tifffile's pages of gray, as stored, where Pillow has the codec; else None."""
    if page.samplesperpixel != 1 or page.dtype.itemsize > 4 or page.bitspersample not in {8, 16, 32}:
        return None
    try:
        with at_frame(identified(stream), page.index) as image:
            is_inverted = image.mode == "L" and page.photometric == 0
            turn = Meaning(page).turn
            values = values_of(image, lambda: identified(stream)) if is_deep(image) else _loaded(image)
    except (OSError, ImageProblem):
        return None
    if values.ndim != 2 or values.dtype.itemsize < page.dtype.itemsize:
        return None
    if values.dtype.itemsize > page.dtype.itemsize:
        values = values.astype(page.dtype)
    values = np.ascontiguousarray(turned_back(255 - values if is_inverted else values, turn))
    stored = values.astype(values.dtype.newbyteorder("="), copy=False).view(page.dtype.newbyteorder("="))
    return np.asarray(stored[..., None])


def _loaded(image: ImageFile.ImageFile) -> NDArray[Any]:
    image.load()
    return np.asarray(image)


def identified(stream: BinaryIO) -> ImageFile.ImageFile:
    """The image of ``stream`` with only its header read; refused when it is too large or not an image."""
    try:
        image = Image.open(stream, formats=_formats_of(stream))
    except UnidentifiedImageError as error:
        raise ImageProblem(what_else(stream)) from error
    width, height = image.size
    refuse_too_large(width, height)
    return image


def _formats_of(stream: BinaryIO) -> tuple[str, ...]:
    """What Pillow shall try; of formats whose decoder may not be there, registers it or says what to install."""
    stream.seek(0)
    start = stream.read(12)
    stream.seek(0)
    if start[4:8] != b"ftyp":
        return _PILLOW_FORMATS
    if start[8:12] in _AVIF_BRANDS:
        if not features.check("avif"):
            raise ImageProblem("This is an AVIF image, which needs Pillow 11.3 or newer, built with AVIF.")
        return ("AVIF",)
    if start[8:12] not in _HEIF_BRANDS:
        raise ImageProblem("This is not an image but a film, or of a kind that can't be read here.")
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageProblem(
            "This is a HEIF image. To show it, install the Python package pillow-heif "
            "(in HOSHINA: uv sync --extra heif)."
        ) from error
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def one_at_a_time_if_large(image: Image.Image) -> AbstractContextManager[object]:
    """Wait for other large images, when this one is large."""
    return _one_large if image.width * image.height > _LARGE_PIXELS else nullcontext()


def take_turns_at(file: Path) -> None:
    """From now on, wait for large images of other processes, too: those that take turns at the same file."""
    global _one_large
    _one_large = FileLock(file)
