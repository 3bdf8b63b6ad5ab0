"""Detect the encoding of table files and open them as text."""

from __future__ import annotations

import codecs
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from hoshina.core.errors import Refusal

UTF_8, WINDOWS = "utf-8-sig", "cp1252"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_SAMPLE = 4096
_PIECE = 2**20
_IN_MEMORY = 16 * 2**20
# Characters that do not occur in text in any encoding.
_CONTROLS = frozenset(range(32)) - set(b"\t\n\r\f")
_WORKBOOKS = ((b"PK\x03\x04", "a ZIP archive, such as an Excel workbook"), (b"\xd0\xcf\x11\xe0", "an Excel workbook"))


@contextmanager
def seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the stream if it is seekable, or else (such as for a pipe) a copy in a temporary file."""
    if stream.seekable():
        yield stream
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
        shutil.copyfileobj(stream, copy)
        yield cast(BinaryIO, copy)


@contextmanager
def opened(stream: BinaryIO, encoding: str) -> Iterator[io.TextIOWrapper]:
    """Yield the stream as text from its start, and leave it open. Raises Refusal if it is not in this encoding."""
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding=encoding, newline="")
    try:
        yield text
    except UnicodeError as error:
        raise Refusal(f"The file is not text in {name_of(encoding)}. Save it as CSV in UTF-8.") from error
    finally:
        text.detach()


def encoding_of(stream: BinaryIO, requested: str = "") -> str:
    """Detect the encoding of a text file.

    It is ``requested``, or the one of the byte order mark, UTF-16 if recognized by its zeros, UTF-8 if valid, or else
    Windows-1252.

    Reads the whole file, 1 MiB at a time. Raises Refusal if it is not text in this encoding.
    """
    stream.seek(0)
    sample = stream.read(_SAMPLE)
    encoding = _requested(requested) if requested else _from_mark(sample)
    if not encoding:
        _refuse_workbooks(sample)
        encoding = _without_mark(sample)
    if encoding:
        _check(stream, encoding)
        return encoding
    try:
        _check(stream, UTF_8)
    except Refusal:
        _check(stream, WINDOWS)
        return WINDOWS
    return UTF_8


def name_of(encoding: str) -> str:
    """Return the common name of an encoding."""
    names = {UTF_8: "UTF-8", WINDOWS: "Windows-1252", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
    return names.get(encoding, encoding.upper())


def guessed_note(encoding: str) -> str:
    """Return what to check if the encoding was guessed; empty if it is certain."""
    if encoding != WINDOWS:
        return ""
    return (
        f"The file is not in UTF-8 and was read as {name_of(encoding)}. Check letters with accents. "
        "If they are wrong, choose the encoding (--encoding)."
    )


def refuse_controls(header: str) -> None:
    """Raise Refusal if the first line contains control characters."""
    if any(ord(character) in _CONTROLS for character in header):
        raise Refusal("This is not a text file. Save the table as CSV in UTF-8.")


def _requested(requested: str) -> str:
    try:
        name = codecs.lookup(requested.strip()).name
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise Refusal(f"There is no encoding {requested[:40]!r}. Examples: utf-8, cp1252, cp1251, utf-16.") from error
    return {"utf-8": UTF_8}.get(name, name)


def _from_mark(sample: bytes) -> str:
    return next((encoding for mark, encoding in _MARKS if sample.startswith(mark)), "")


def _refuse_workbooks(sample: bytes) -> None:
    for signature, description in _WORKBOOKS:
        if sample.startswith(signature):
            raise Refusal(f"This is not a text file but {description}. Save the table as CSV in UTF-8.")


def _without_mark(sample: bytes) -> str:
    """Detect UTF-16 without a byte order mark: most letters of the first kilobytes have a zero on the same side."""
    first, second = sample[::2], sample[1::2]
    if not second:
        return ""
    zeros = first.count(0) / len(first), second.count(0) / len(second)
    if zeros[1] > 0.4 and zeros[0] < 0.1:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.4 and zeros[1] < 0.1 else ""


def _check(stream: BinaryIO, encoding: str) -> None:
    with opened(stream, encoding) as text:
        while text.read(_PIECE):
            pass
