"""Open any supported image file the way a person would see it: the chosen frame, upright, RGB.

Everything that looks at pixels (thumbnail, full view, model input) comes through here, so that all see the
same.
"""

from __future__ import annotations

import gzip
import os
import stat
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageFile, UnidentifiedImageError, features

from labeling.images import dicom, fits, tiff
from labeling.images.colour import to_rgb
from labeling.images.deep import is_deep, picture_of, values_of
from labeling.images.planes import combined
from labeling.images.problems import MAX_PIXELS, TRUNCATED, ImageProblem, refuse_too_large
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.stretching import stretch

__all__ = ["DEFAULT_EXTENSIONS", "FORMATS", "MAX_PIXELS", "ImageProblem", "format_for_browsers", "open_image"]

_PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")
# Of these the browser and open_image show the same, if other things are right.
_BROWSER_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
FORMATS = ("JPEG", "PNG", "TIFF", "WebP", "BMP", "GIF", "AVIF", "FITS", "HEIF", "DICOM")
DEFAULT_EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif", ".heic", ".heif",
    *fits.EXTENSIONS, *dicom.EXTENSIONS,
)  # fmt: skip

# Of images larger than this one is unpacked at a time, so that a few threads do not fill the memory.
_LARGE_PIXELS = 40_000_000
_one_large: AbstractContextManager[object] = threading.Lock()

# Pillow only warns at its own limit; MAX_PIXELS is checked here instead.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})
# Tags of TIFF; channels that lie one after the other are taken for 8 bits by Pillow.
_BITS, _LAYOUT, _SEPARATE = 258, 284, 2
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_NOT_IMAGES = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x00\x05\x16\x07", "a note that macOS keeps beside a file"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with `git lfs pull`"),
)


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
        image = decoded(stream, max_side, rendering)[1]
        return image if max_side is None else shrink(image, max_side)


def open_for_resizing(path: str | os.PathLike[str], side: int, rendering: Rendering = DEFAULT) -> Image.Image:
    """As :func:`open_image`, of whatever size comes cheapest and has at least ``side`` pixels where the file has them:
    for whoever resizes it anyway."""
    with in_plain_words(), regular_file(path) as stream:
        return decoded(stream, side, rendering)[1]


def shrink(image: Image.Image, max_side: int) -> Image.Image:
    """The image itself, its longer side at most ``max_side`` pixels from now on."""
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def decoded(
    stream: BinaryIO, max_side: int | None = None, rendering: Rendering = DEFAULT
) -> tuple[str, Image.Image, tuple[int, int]]:
    """The format, the image as :func:`open_image` gives it before it is shrunk for good, and its full size."""
    if fits.is_fits(stream):
        image = Image.fromarray(fits.read_stretched(stream, rendering)).convert("RGB")
        return "FITS", image, image.size
    if dicom.is_dicom(stream):
        image = dicom.read(stream, rendering)
        return "DICOM", image, image.size
    if tiff.is_tiff(stream) and is_beyond_pillow(stream):
        return "TIFF", *_unusual_tiff(stream, max_side, rendering)
    return _raster(stream, max_side, rendering)


def format_for_browsers(path: str | os.PathLike[str], rendering: Rendering = DEFAULT) -> str:
    """The format of a file that browsers show just as :func:`open_image` does, else nothing.

    Not so: FITS, TIFF and other formats that some browsers lack, more than 8 bits (grey is nearly black there), CMYK,
    transparency (there the page shines through), anything that moves (here one frame counts), what is shown inverted,
    and orientation outside of JPEG, which browsers leave to chance. Raises ImageProblem.
    """
    with in_plain_words(), regular_file(path) as stream:
        if fits.is_fits(stream) or dicom.is_dicom(stream) or tiff.is_tiff(stream) or rendering.is_inverted:
            return ""
        with identified(stream) as image:
            name = "JPEG" if image.format == "MPO" else str(image.format)
            if name not in _BROWSER_FORMATS or is_deep(image) or image.mode == "CMYK" or image.has_transparency_data:
                return ""
            if name != "JPEG" and (getattr(image, "is_animated", False) or orientation(image) != 1):
                return ""
            return name


# -- What Pillow reads ----------------------------------------------------------------------------
def _raster(stream: BinaryIO, max_side: int | None, rendering: Rendering) -> tuple[str, Image.Image, tuple[int, int]]:
    """As :func:`decoded`; at most a little larger than ``max_side`` when the file is a large JPEG."""
    with identified(stream) as source, one_at_a_time_if_large(source):
        # MPO is what cameras make that store several pictures in one JPEG file.
        name = "JPEG" if source.format == "MPO" else str(source.format)
        width, height = source.size
        if max_side is not None:
            source.draft("RGB", (max_side, max_side))
        is_drafted = source.size != (width, height)
        image = _of_frames(source, stream, name, rendering) or _of_first(source, stream, rendering)
        turn = orientation(source)
        if not is_drafted:
            width, height = image.size
    if turn in UPRIGHT:
        image = image.transpose(UPRIGHT[turn])
        if turn in _SIDEWAYS:
            width, height = height, width
    return name, image, (width, height)


def _of_first(source: ImageFile.ImageFile, stream: BinaryIO, rendering: Rendering) -> Image.Image:
    if is_deep(source):
        return picture_of(values_of(source, lambda: identified(stream)), rendering)
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
    image.seek(number)
    return image


def _picture(planes: list[NDArray[Any]], rendering: Rendering) -> Image.Image:
    """Deep planes: one as it is, three as red, green and blue, each stretched on its own."""
    if len(planes) == 1:
        return picture_of(planes[0], rendering)
    return Image.fromarray(np.stack([stretch(plane, rendering) for plane in planes], axis=-1))


# -- TIFF that Pillow does not read ----------------------------------------------------------------
def is_beyond_pillow(stream: BinaryIO) -> bool:
    """Whether Pillow does not know this kind of TIFF, or mistakes it, or it is too large to be unpacked as a whole."""
    try:
        with Image.open(stream, formats=["TIFF"]) as image:
            tags = getattr(image, "tag_v2", {})
            bits, layout = tags.get(_BITS, (1,)), tags.get(_LAYOUT, 1)
            is_mistaken = max(bits) > 8 and len(bits) > 1 and layout == _SEPARATE
            return is_mistaken or image.width * image.height > MAX_PIXELS
    except UnidentifiedImageError:
        return True
    finally:
        stream.seek(0)


def _unusual_tiff(stream: BinaryIO, max_side: int | None, rendering: Rendering) -> tuple[Image.Image, tuple[int, int]]:
    width, height = tiff.size_of(stream)
    turn = tiff.turn_of(stream)
    if width * height > MAX_PIXELS:
        if max_side is None:
            raise ImageProblem(f"The image has {width * height / 1e6:,.0f} megapixels: it can only be opened reduced.")
        with _one_large:
            values = tiff.read_reduced(stream, max_side)
    else:
        values = tiff.read_whole(stream, rendering)
        height, width = values.shape[:2]
    image = to_rgb(Image.fromarray(values), rendering) if values.dtype == np.uint8 else picture_of(values, rendering)
    if turn in _SIDEWAYS:
        width, height = height, width
    return image.transpose(UPRIGHT[turn]) if turn in UPRIGHT else image, (width, height)


def identified(stream: BinaryIO) -> ImageFile.ImageFile:
    """The image of ``stream`` with only its header read; refused when it is too large or not an image."""
    try:
        image = Image.open(stream, formats=_formats_of(stream))
    except UnidentifiedImageError as error:
        raise ImageProblem(_what_else(stream)) from error
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


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. A broken EXIF block costs the orientation, not the image.

    TIFF files are turned by Pillow as they load, so ask after loading.
    """
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - EXIF of damaged files fails in any way at all
        return 1
    return turn if turn in UPRIGHT else 1


@contextmanager
def regular_file(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """The file opened for reading, if it is a regular one that is not empty; a pipe would block for ever."""
    status = os.stat(path)  # noqa: PTH116 - a path of any kind
    if not stat.S_ISREG(status.st_mode):
        raise ImageProblem("This is not a regular file (but a folder, a pipe or a device).")
    if status.st_size == 0:
        raise ImageProblem("The file is empty; copy it again or remove it.")
    with open(path, "rb") as stream:  # noqa: PTH123 - of any kind, and in half the time
        yield stream


@contextmanager
def in_plain_words() -> Iterator[None]:
    """Whatever opening or decoding raises becomes an ImageProblem."""
    try:
        yield
    except ImageProblem:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageProblem(_reason(error)) from error


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "The file is not there any more, or is a link to nothing."
    if isinstance(error, PermissionError):
        return "There is no permission to read the file; whoever runs HOSHINA needs it."
    if isinstance(error, MemoryError):
        return "The image is too large for the memory of this machine; save it smaller."
    if isinstance(error, EOFError) or "truncated" in said.lower():
        return TRUNCATED
    if isinstance(error, zlib.error | gzip.BadGzipFile):
        said = "what is packed in it does not fit its checksum"  # whose digits make every such file a reason of its own
    elif isinstance(error, TypeError | AttributeError | LookupError):
        said = f"what its header says makes no sense to the decoder: {said}"
    return f"The file is damaged and cannot be read as an image; copy or save it again ({said})."


def _what_else(stream: BinaryIO) -> str:
    """Words for a file that no decoder knows."""
    stream.seek(0)
    start = stream.read(512)
    for magic, words in _NOT_IMAGES:
        if start.startswith(magic):
            return f"This is not an image but {words}."
    if start.startswith((b"II*\x00", b"MM\x00*", b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF")):
        return "The file begins like an image, but is damaged, truncated or of a rare kind; copy or save it again."
    if not start.strip(b"\x00"):
        return "The file holds only zeros; perhaps copying it failed: copy it again."
    if b"\x00" not in start and _is_text(start):
        if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
            return "This is not an image but a web page."
        return "This is not an image but text."
    return f"This is not an image of a kind that can be read here ({', '.join(FORMATS)}); convert or remove it."


def _is_text(start: bytes) -> bool:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(start) - 3  # only a character cut by the end of the sample
    return True
