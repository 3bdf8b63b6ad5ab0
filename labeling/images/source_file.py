"""Open files of unknown kind, and turn errors into readable messages."""

from __future__ import annotations

import gzip
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import BinaryIO

from labeling.images.problems import TRUNCATED, ImageProblem

FORMATS = (
    "JPEG", "PNG", "TIFF", "WebP", "BMP", "GIF", "AVIF", "FITS", "HEIF", "DICOM", "JPEG 2000", "JPEG XL",
)  # fmt: skip
PNG_START = b"\x89PNG\r\n\x1a\n"
_NOT_IMAGES = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x00\x05\x16\x07", "a metadata file of macOS"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with `git lfs pull`"),
)


@contextmanager
def regular_file(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Open a regular, non-empty file for reading. Raises ImageProblem for others, since a pipe would block forever."""
    status = os.stat(path)  # noqa: PTH116 - a path of any kind
    if not stat.S_ISREG(status.st_mode):
        raise ImageProblem("This is not a regular file but a folder, a pipe or a device.")
    if status.st_size == 0:
        raise ImageProblem("The file is empty. Copy it again or remove it.")
    with open(path, "rb") as stream:  # noqa: PTH123 - any kind of path, in half the time
        yield stream


@contextmanager
def as_image_problems() -> Iterator[None]:
    """Convert all exceptions of opening and decoding to ImageProblem with a readable reason."""
    try:
        yield
    except ImageProblem:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageProblem(_reason(error)) from error


def _reason(error: Exception) -> str:
    message = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "The file no longer exists, or is a broken link."
    if isinstance(error, PermissionError):
        return "HOSHINA has no permission to read the file. Allow the user that runs HOSHINA to read it."
    if isinstance(error, MemoryError):
        return "The image is too large for the memory of this machine. Save it smaller."
    if match := re.search(r"(?:decoder|encoder) (\w+) not available", message):
        return f"This Pillow was built without {match[1]}, which the file needs. Install Pillow from PyPI (uv sync)."
    if isinstance(error, EOFError) or "truncated" in message.lower():
        return TRUNCATED
    if isinstance(error, zlib.error | gzip.BadGzipFile):
        message = "its compressed data do not match their checksum"  # without digits, so that such files share a reason
    elif isinstance(error, TypeError | AttributeError | LookupError):
        message = f"the decoder cannot interpret its header: {message}"
    return f"The file is damaged and cannot be read as an image ({message}). Copy or save it again."


def png_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and size of each chunk of a PNG file up to IEND, with the stream at its content."""
    at = len(PNG_START)
    while stream.seek(at) and len(head := stream.read(8)) == 8:
        size, name = struct.unpack(">L4s", head)
        yield name, size
        if name == b"IEND":
            return
        at += size + 12


def unsupported_reason(stream: BinaryIO) -> str:
    """Return the message for a file that no decoder recognizes."""
    stream.seek(0)
    start = stream.read(512)
    for magic, description in _NOT_IMAGES:
        if start.startswith(magic):
            return f"This is not an image but {description}."
    if start.startswith((b"II*\x00", b"MM\x00*", b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF")):
        return "The file begins like an image, but is damaged, truncated or of a rare kind. Copy or save it again."
    if not start.strip(b"\x00"):
        return "The file contains only zeros. Perhaps copying it failed: copy it again."
    if b"\x00" not in start and _is_text(start):
        if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
            return "This is not an image but a web page."
        return "This is not an image but text."
    return f"This is not an image in a supported format ({', '.join(FORMATS)}). Convert or remove it."


def _is_text(start: bytes) -> bool:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(start) - 3  # only a character split by the end of the sample
    return True
