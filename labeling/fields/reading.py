"""Reading a CSV file of facts about items. Pure: bytes in, checked lines out, and words where it can't be read."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

_DELIMITERS = ",;\t"
KEYS = ("path", "item_id", "name")
# The headers of the columns that tell which item a line is about, by what they hold.
_HEADERS = {
    "path": ("path", "file", "filename"),
    "item_id": ("item_id",),
    "name": ("name", "image", "id", "path", "file", "filename"),
}
_NEVER_FIELDS = {*_HEADERS["path"], *_HEADERS["item_id"]}
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_LONGEST_HEADER = 256 * 1024
MAX_NAME, MAX_COLUMNS, MAX_TEXT = 80, 200, 1000
EXPECTED = (
    "Expected a CSV file whose first line names its columns: one that tells the image (path, item_id, or a file name), "
    "and a column for each fact."
)


class FieldProblem(Exception):
    """Why something can't become a field, in words for the person. Nothing was changed."""


@dataclass(frozen=True)
class Wish:
    """What a person asked for: what tells the items (``""``: path or item_id, as the columns are named), the header of
    that column if it is an unusual one, and the only columns to take (none: all)."""

    key: str = ""
    key_column: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How a file is laid out: ``names`` and ``places`` of the columns that become fields, and where the key is."""

    encoding: str
    delimiter: str
    n_columns: int
    key: str
    key_place: int
    names: tuple[str, ...]
    places: tuple[int, ...]
    # Lines up to the header and with it.
    n_above: int

    def as_number(self, value: str) -> str:
        """The value as a number would be written: where semicolons part columns, a comma may be the point of one."""
        if self.delimiter == ";" and _WITH_COMMA.fullmatch(value):
            return value.replace(",", ".")
        return value


class Line(NamedTuple):
    """One line: its number, what tells the item, and the stripped values of the layout's columns."""

    number: int
    key: str
    values: list[str]


def layout_of(stream: BinaryIO, wish: Wish) -> Layout:
    """How the file is laid out; the whole of it is looked at for its encoding.

    Raises
    ------
    FieldProblem
        It is empty, no text, has no such columns, or the same one twice.
    """
    encoding = _encoding(stream)
    with _text(stream, encoding) as text:
        header, n_above = _header(text)
    delimiter, headers = _parted(header, wish)
    key, key_place = _key(headers, wish)
    wanted = _wanted(headers, key_place, wish)
    return Layout(
        encoding, delimiter, len(headers), key, key_place,
        tuple(headers[place] for place in wanted), tuple(wanted), n_above,
    )  # fmt: skip


def lines_of(stream: BinaryIO, layout: Layout) -> Iterator[Line]:
    """Every line below the header, empty ones left out; may be begun again.

    Raises
    ------
    FieldProblem
        A line has another number of values than the header, names no item, or its quotes do not add up.
    """
    number = layout.n_above
    with _text(stream, layout.encoding) as text:
        for _ in range(layout.n_above):
            text.readline()
        reader = csv.reader(text, delimiter=layout.delimiter, strict=True)
        try:
            for values in reader:
                number = layout.n_above + reader.line_num
                if any(map(str.strip, values)):
                    yield _line(number, values, layout)
        except csv.Error as error:
            raise FieldProblem(f"After line {number} the quotes do not add up ({error}). {EXPECTED}") from error


def _line(number: int, values: Sequence[str], layout: Layout) -> Line:
    n = len(values)
    if n != layout.n_columns and not (n > layout.n_columns and not any(values[layout.n_columns :])):
        raise FieldProblem(
            f"Line {number} has {n} value{'' if n == 1 else 's'}, but the header names {layout.n_columns} columns."
        )
    key = values[layout.key_place]
    if not key.strip():
        raise FieldProblem(f"Line {number} does not say which image it is about.")
    return Line(number, key, [values[place].strip() for place in layout.places])


class _text:
    """The stream as text from its start on; it stays open afterwards."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        stream.seek(0)
        self._text = io.TextIOWrapper(stream, encoding=encoding, newline="")

    def __enter__(self) -> io.TextIOWrapper:
        return self._text

    def __exit__(self, *_: object) -> None:
        self._text.detach()


def _encoding(stream: BinaryIO) -> str:
    """UTF-8 where the file is valid UTF-8, else Latin-1, in which any file is text."""
    stream.seek(0)
    if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
        raise FieldProblem(f"This is text in UTF-16. Save it as CSV in UTF-8. {EXPECTED}")
    try:
        with _text(stream, "utf-8-sig") as text:
            while text.read(2**20):
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def _header(text: io.TextIOWrapper) -> tuple[str, int]:
    """The first line that is not empty, and its number."""
    number = 0
    while line := text.readline(_LONGEST_HEADER):
        number += 1
        if line.strip():
            break
    else:
        raise FieldProblem(f"The file is empty. {EXPECTED}")
    if "\0" in line:
        raise FieldProblem(f"This is not a text file. {EXPECTED}")
    return line, number


def _parted(header: str, wish: Wish) -> tuple[str, list[str]]:
    """The delimiter with which the header names the item's column; headers are tidied."""
    most: list[str] = []
    for delimiter in _DELIMITERS:
        try:
            headers = [" ".join(name.split()) for name in next(csv.reader([header], delimiter=delimiter, strict=True))]
        except csv.Error:
            continue
        while headers and not headers[-1]:  # commas at the end of the line
            headers.pop()
        if _find_key(headers, wish) is not None:
            return delimiter, headers
        most = max(most, headers, key=len)
    shown = ", ".join(repr(name[:40]) for name in most[:8])
    asked = f"There is no column {wish.key_column!r}. " if wish.key_column else ""
    raise FieldProblem(f"{asked}The columns are {shown or 'none'}. {EXPECTED}")


def _find_key(headers: Sequence[str], wish: Wish) -> tuple[str, int] | None:
    lower = [name.lower() for name in headers]
    if wish.key_column:
        asked = " ".join(wish.key_column.split()).lower()
        return (wish.key or "path", lower.index(asked)) if asked in lower else None
    for key in [wish.key] if wish.key else ("path", "item_id"):
        for name in _HEADERS[key]:
            if name in lower:
                return key, lower.index(name)
    return None


def _key(headers: Sequence[str], wish: Wish) -> tuple[str, int]:
    found = _find_key(headers, wish)
    assert found is not None
    return found


def _wanted(headers: Sequence[str], key_place: int, wish: Wish) -> list[int]:
    """The places of the columns that become fields."""
    _refuse_twice(headers)
    lower = [name.lower() for name in headers]
    if wish.columns:
        asked = [" ".join(name.split()).lower() for name in wish.columns]
        for name, given in zip(asked, wish.columns, strict=True):
            if name not in lower:
                raise FieldProblem(f"There is no column {given!r}; there are {', '.join(map(repr, headers[:20]))}.")
        wanted = sorted({lower.index(name) for name in asked} - {key_place})
    else:
        wanted = [
            place for place, name in enumerate(lower) if place != key_place and name and name not in _NEVER_FIELDS
        ]
    if not wanted:
        raise FieldProblem(f"There is no column besides the one that tells the image. {EXPECTED}")
    if len(wanted) > MAX_COLUMNS:
        raise FieldProblem(f"{len(wanted)} columns are too many ({MAX_COLUMNS} at most): name those that you want.")
    for place in wanted:
        if len(headers[place]) > MAX_NAME:
            raise FieldProblem(f"The name of the column {headers[place][:40]!r}… is longer than {MAX_NAME} characters.")
    return wanted


def _refuse_twice(headers: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in headers:
        if name and name.lower() in seen:
            raise FieldProblem(f"There are two columns called {name!r}. Give one another name.")
        seen.add(name.lower())
