"""Open any supported image file the way a person would see it: first frame, upright, RGB.

Everything that looks at pixels (thumbnail, full view, model input) comes through here, so that all see the
same.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from labeling.images import fits
from labeling.images.problems import MAX_PIXELS, ImageProblem, refuse_too_large
from labeling.images.stretching import by_percentile

__all__ = ["DEFAULT_EXTENSIONS", "FORMATS", "MAX_PIXELS", "ImageProblem", "format_for_browsers", "open_image"]

_PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")
FORMATS = (*_PILLOW_FORMATS, "FITS")
DEFAULT_EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", *fits.EXTENSIONS,
)  # fmt: skip

# Of images larger than this one is unpacked at a time, so that a few threads do not fill the memory.
_LARGE_PIXELS = 40_000_000
_one_large = threading.Lock()

# Pillow only warns at its own limit; MAX_PIXELS is checked here instead.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_GREY = (128, 128, 128)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_NOT_IMAGES = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x00\x05\x16\x07", "a note that macOS keeps beside a file"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with `git lfs pull`"),
)


def open_image(path: str | os.PathLike[str], *, max_side: int | None = None) -> Image.Image:
    """Open an image file as RGB, upright.

    Parameters
    ----------
    path
        A JPEG, PNG, TIFF, WebP, BMP, GIF or FITS file; its content decides, not its name. Of several frames
        or planes the first is taken. Transparent pixels lie on mid grey; 16-bit, 32-bit and float grey is
        stretched between its 0.5th and 99.5th percentile, FITS by zscale.
    max_side
        The longer side in pixels of the result at most; smaller images keep their size. JPEG files are then
        unpacked at a fraction of their size, which is several times faster.

    Raises
    ------
    ImageProblem
        When no image can be got from the file, with the reason in plain words.
    """
    with in_plain_words(), regular_file(path) as stream:
        if fits.is_fits(stream):
            image = Image.fromarray(fits.read_stretched(stream)).convert("RGB")
        else:
            image = _open_raster(stream, max_side)
        if max_side is not None:
            image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return image


def format_for_browsers(path: str | os.PathLike[str]) -> str:
    """The format of a file that browsers show just as :func:`open_image` does, else nothing.

    Not so: FITS and TIFF, deep grey (nearly black there), CMYK, transparency (there the page shines through, here
    it is grey), anything that moves (here the first frame counts) and orientation outside of JPEG, which
    browsers leave to chance. Raises ImageProblem.
    """
    with in_plain_words(), regular_file(path) as stream:
        if fits.is_fits(stream):
            return ""
        with identified(stream) as image:
            name = "JPEG" if image.format == "MPO" else str(image.format)
            if name == "TIFF" or image.mode in _DEEP_MODES or image.mode == "CMYK" or image.has_transparency_data:
                return ""
            if name != "JPEG" and (getattr(image, "is_animated", False) or orientation(image) != 1):
                return ""
            return name


def _open_raster(stream: BinaryIO, max_side: int | None) -> Image.Image:
    """RGB and upright; at most a little larger than ``max_side`` when the file is a large JPEG."""
    with identified(stream) as source, one_at_a_time_if_large(source):
        if max_side is not None:
            source.draft("RGB", (max_side, max_side))
        source.load()
        turn = orientation(source)
        image = _to_rgb(source)
        return image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image


def identified(stream: BinaryIO) -> ImageFile.ImageFile:
    """The image of ``stream`` with only its header read; refused when it is too large or not an image."""
    try:
        image = Image.open(stream, formats=_PILLOW_FORMATS)
    except UnidentifiedImageError as error:
        raise ImageProblem(_what_else(stream)) from error
    width, height = image.size
    refuse_too_large(width, height)
    return image


def one_at_a_time_if_large(image: Image.Image) -> AbstractContextManager[object]:
    """Wait for other large images, when this one is large."""
    return _one_large if image.width * image.height > _LARGE_PIXELS else nullcontext()


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. A broken EXIF block costs the orientation, not the image.

    TIFF files are turned by Pillow as they load, so ask after loading.
    """
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - EXIF of damaged files fails in any way at all
        return 1
    return turn if turn in _UPRIGHT else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB."""
    if image.mode in _DEEP_MODES:
        return Image.fromarray(by_percentile(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGB", image.size, _GREY)
        ground.paste(layer, mask=layer.getchannel("A"))
        return ground
    return image.convert("RGB")


@contextmanager
def regular_file(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """The file opened for reading, if it is a regular one that is not empty; a pipe would block for ever."""
    status = os.stat(path)  # noqa: PTH116 - a path of any kind
    if not stat.S_ISREG(status.st_mode):
        raise ImageProblem("This is not a regular file (but a folder, a pipe or a device).")
    if status.st_size == 0:
        raise ImageProblem("The file is empty.")
    with Path(path).open("rb") as stream:
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
    said = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "The file is not there any more, or is a link to nothing."
    if isinstance(error, PermissionError):
        return "There is no permission to read the file."
    if isinstance(error, MemoryError):
        return "The image is too large for the memory of this machine."
    if isinstance(error, EOFError) or "truncated" in said.lower():
        return "The file is truncated: it ends before the image does."
    if isinstance(error, (struct.error, zlib.error, SyntaxError, ValueError, OSError)):
        return f"The file is damaged and cannot be read as an image ({said})."
    return f"The image cannot be read ({type(error).__name__}: {said})."


def _what_else(stream: BinaryIO) -> str:
    """Words for a file that no decoder knows."""
    stream.seek(0)
    start = stream.read(512)
    for magic, words in _NOT_IMAGES:
        if start.startswith(magic):
            return f"This is not an image but {words}."
    if start.startswith((b"II*\x00", b"MM\x00*", b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF")):
        return "The file begins like an image, but is damaged, truncated or of a kind that cannot be read here."
    if not start.strip(b"\x00"):
        return "The file holds only zeros; perhaps copying it failed."
    if b"\x00" not in start and _is_text(start):
        if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
            return "This is not an image but a web page."
        return "This is not an image but text."
    return f"This is not an image of a kind that can be read here ({', '.join(FORMATS)})."


def _is_text(start: bytes) -> bool:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(start) - 3  # only a character cut by the end of the sample
    return True
