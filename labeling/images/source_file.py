"""Open a file that may be anything, and say in plain words what is wrong with it."""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import BinaryIO

from labeling.images.problems import TRUNCATED, ImageProblem

FORMATS = (
    "JPEG", "PNG", "TIFF", "WebP", "BMP", "GIF", "AVIF", "FITS", "HEIF", "DICOM", "JPEG 2000", "JPEG XL",
)  # fmt: skip
_NOT_IMAGES = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x00\x05\x16\x07", "a note that macOS keeps beside a file"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with `git lfs pull`"),
)


@contextmanager
def regular_file(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Return the file opened for reading, if it is a regular one that is not empty; a pipe would block for ever."""
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
    if found := re.search(r"(?:decoder|encoder) (\w+) not available", said):
        return f"This Pillow was built without {found[1]}, which the file needs. Install Pillow from PyPI (uv sync)."
    if isinstance(error, EOFError) or "truncated" in said.lower():
        return TRUNCATED
    if isinstance(error, zlib.error | gzip.BadGzipFile):
        said = "what is packed in it does not fit its checksum"  # whose digits make every such file a reason of its own
    elif isinstance(error, TypeError | AttributeError | LookupError):
        said = f"what its header says makes no sense to the decoder: {said}"
    return f"The file is damaged and cannot be read as an image; copy or save it again ({said})."


def what_else(stream: BinaryIO) -> str:
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
