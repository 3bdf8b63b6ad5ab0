"""Reading a CSV file of decisions. Pure: bytes in, checked rows out, and words where it can't be read."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

_DELIMITERS = ",;\t"
_PATH_COLUMNS = ("path", "file", "filename")
_LABEL_COLUMNS = ("label", "class", "category")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
# Spreadsheets and data frames turn a column of ids with gaps into 12.0.
_ID = re.compile(r"\d{1,18}(\.0)?")
_LONGEST_HEADER = 64 * 1024
EXPECTED = (
    "Expected a CSV file in UTF-8 whose first line names its columns: path or item_id, and label "
    "(was_unsure and skipped if you like)."
)


class ImportProblem(Exception):
    """Why the file can't be imported, in words for the person. Nothing was imported."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the file, checked by itself. ``item_id`` counts only where ``path`` is empty."""

    line: int
    path: str
    item_id: int | None
    label: str
    was_unsure: bool
    is_skipped: bool

    @property
    def is_decision(self) -> bool:
        return bool(self.label or self.was_unsure or self.is_skipped)


def read_rows(stream: BinaryIO) -> Iterator[Row]:
    """The rows of a file with a header line; commas, semicolons or tabs, a byte order mark or none.

    Raises
    ------
    ImportProblem
        It is empty, no text, has no such columns, or a line says something that can't be.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    line = 1
    try:
        header, above = _header(text)
        delimiter, columns = _columns(header)
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        for values in reader:
            line = above + reader.line_num
            if any(value.strip() for value in values):
                yield _row(line, values, columns)
    except UnicodeDecodeError as error:
        raise ImportProblem(f"This is not text in UTF-8. {EXPECTED}") from error
    except csv.Error as error:
        raise ImportProblem(f"After line {line} the quotes do not add up ({error}). {EXPECTED}") from error
    finally:
        text.detach()


def _header(text: io.TextIOWrapper) -> tuple[str, int]:
    """The first line that is not empty, and its number."""
    number = 0
    while line := text.readline(_LONGEST_HEADER):
        number += 1
        if line.strip():
            return line, number
    raise ImportProblem(f"The file is empty. {EXPECTED}")


def _columns(header: str) -> tuple[str, Mapping[str, int]]:
    """The delimiter with which the header makes sense, and the place of each column that we know."""
    if "\0" in header:
        raise ImportProblem(f"This is not a text file. {EXPECTED}")
    most: list[str] = []
    for delimiter in _DELIMITERS:
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter))]
        found = {
            "path": _first(names, _PATH_COLUMNS),
            "item_id": _first(names, ("item_id",)),
            "label": _first(names, _LABEL_COLUMNS),
            "was_unsure": _first(names, ("was_unsure",)),
            "skipped": _first(names, ("skipped",)),
        }
        columns = {name: place for name, place in found.items() if place is not None}
        if "label" in columns and ("path" in columns or "item_id" in columns):
            return delimiter, columns
        most = max(most, names, key=len)
    shown = ", ".join(repr(name[:40]) for name in most[:8])
    raise ImportProblem(f"The columns are {shown}. {EXPECTED}")


def _first(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _row(line: int, values: Sequence[str], columns: Mapping[str, int]) -> Row:
    def value(name: str) -> str:
        place = columns.get(name)
        return values[place] if place is not None and place < len(values) else ""

    path, item_id = value("path"), value("item_id").strip()
    if not path.strip() and not item_id:
        raise ImportProblem(f"Line {line} names no item: it has neither a path nor an item_id.")
    if item_id and not _ID.fullmatch(item_id):
        raise ImportProblem(f"Line {line}: item_id is {item_id[:40]!r}; expected a whole number.")
    return Row(
        line=line,
        path=path if path.strip() else "",
        item_id=int(item_id.removesuffix(".0")) if item_id else None,
        label=value("label").strip(),
        was_unsure=_boolean(line, "was_unsure", value("was_unsure")),
        is_skipped=_boolean(line, "skipped", value("skipped")),
    )


def _boolean(line: int, name: str, value: str) -> bool:
    found = _BOOLEANS.get(value.strip().lower())
    if found is None:
        raise ImportProblem(f"Line {line}: {name} is {value.strip()[:40]!r}; expected true or false.")
    return found
