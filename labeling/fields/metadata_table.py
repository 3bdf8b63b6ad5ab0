"""Read and check the lines of a metadata table. Imports no Django."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from hoshina.core.errors import Refusal
from labeling.tables import layout as tables
from labeling.tables.item_column import NEVER_FIELDS, column_of, key_of, key_rank
from labeling.tables.match_rows import id_of

_WITH_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
ReadLayout = Callable[[BinaryIO, tables.Rank, str], tables.Layout]
MAX_NAME, MAX_COLUMNS, MAX_TEXT = 80, 200, 1000
EXPECTED = (
    "Expected a table (CSV, XLSX, Parquet, JSON Lines, ECSV, …) whose first line names its columns: one that names "
    "the image (path, item_id, file_name, filepath, image, image_id, …, or the one you choose), and one for each field."
)


@dataclass(frozen=True)
class Wish:
    """The options of an import.

    ``key``: how items are named ("": according to the column's name). ``key_column``: the column that names them.
    ``columns``: the columns to import (empty: all). ``encoding``: that of the file ("": detected).
    """

    key: str = ""
    key_column: str = ""
    columns: tuple[str, ...] = ()
    encoding: str = ""


@dataclass(frozen=True)
class Layout:
    """The layout of a table: ``names`` and ``places`` of the columns that become fields, and the place of the key.

    ``left_out``: columns whose names are too long for a field.
    """

    table: tables.Layout
    key: str
    key_place: int
    names: tuple[str, ...]
    places: tuple[int, ...]
    left_out: tuple[str, ...] = ()

    @property
    def encoding(self) -> str:
        return self.table.encoding

    @property
    def key_column(self) -> str:
        return self.table.headers[self.key_place]

    def as_number(self, value: str) -> str:
        """Return the value with a decimal point: in files separated by semicolons, numbers may have a decimal comma."""
        if self.table.delimiter == ";" and _WITH_COMMA.fullmatch(value):
            return value.replace(",", ".")
        return value

    def without(self, names: Sequence[str]) -> Layout:
        """Return the layout without some of the columns."""
        columns = [(name, place) for name, place in zip(self.names, self.places, strict=True) if name not in names]
        return Layout(
            self.table, self.key, self.key_place,
            tuple(name for name, _ in columns), tuple(place for _, place in columns), (*self.left_out, *names),
        )  # fmt: skip


class Line(NamedTuple):
    """One line: its number, the key of the item, and the stripped values of the layout's columns."""

    number: int
    key: str
    values: list[str]


def layout_of(stream: BinaryIO, wish: Wish, read_layout: ReadLayout = tables.layout_of) -> Layout:
    """Detect the layout and encoding of the table, by default of text. Raises Refusal if columns lack or repeat."""
    table = read_layout(stream, lambda headers: key_rank(headers, wish.key, wish.key_column), wish.encoding)
    key = key_of(table.headers, wish.key, wish.key_column)
    if key is None:
        problem = f"There is no column {wish.key_column!r}. " if wish.key_column else ""
        raise Refusal(
            f"{problem}{table.listed} {EXPECTED} Choose the column that names the images with --key COLUMN, "
            "or on the page under Options."
        )
    wanted, left_out = _wanted(table.headers, key.place, wish)
    return Layout(
        table, key.kind, key.place, tuple(table.headers[place] for place in wanted), tuple(wanted), tuple(left_out)
    )


def lines_of(stream: BinaryIO, layout: Layout) -> Iterator[Line]:
    """Yield every line below the header, without empty ones; may be called again.

    Raises Refusal if a line has more or fewer values than the header, names no item, or has unbalanced quotes.
    """
    for number, values in tables.rows_of(stream, layout.table):
        yield _line(number, values, layout)


def _line(number: int, values: Sequence[str], layout: Layout) -> Line:
    n, n_columns = len(values), len(layout.table.headers)
    if n != n_columns and not (n > n_columns and not any(values[n_columns:])):
        raise Refusal(f"Line {number} has {n} value{'' if n == 1 else 's'}, but the header names {n_columns} columns.")
    key = values[layout.key_place]
    if not key.strip():
        raise Refusal(f"Line {number} does not name an image.")
    if layout.key == "item_id":
        id_of(number, key)
    return Line(number, key, [values[place].strip() for place in layout.places])


def _wanted(headers: Sequence[str], key_place: int, wish: Wish) -> tuple[list[int], list[str]]:
    """Return the places of the columns that become fields, and the names of those whose names are too long."""
    if wish.columns:
        wanted = sorted({column_of(headers, name) for name in wish.columns} - {key_place})
    else:
        wanted = [
            place
            for place, name in enumerate(headers)
            if place != key_place and name and name.lower() not in NEVER_FIELDS
        ]
    _refuse_twice([headers[place] for place in (key_place, *wanted)])
    left_out = [headers[place] for place in wanted if len(headers[place]) > MAX_NAME]
    if left_out and (wish.columns or len(left_out) == len(wanted)):
        raise Refusal(f"The name of the column {left_out[0][:40]!r}… is longer than {MAX_NAME} characters.")
    wanted = [place for place in wanted if len(headers[place]) <= MAX_NAME]
    if not wanted:
        raise Refusal(f"There is no column besides the one that names the image. {EXPECTED}")
    if len(wanted) > MAX_COLUMNS:
        raise Refusal(
            f"The file has {len(wanted)} columns, and {MAX_COLUMNS} is the limit. Choose columns (--columns A,B)."
        )
    return wanted, left_out


def _refuse_twice(headers: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in headers:
        if name and name.lower() in seen:
            raise Refusal(f"There are two columns called {name!r}. Rename one of them.")
        seen.add(name.lower())
