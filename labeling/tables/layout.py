"""Detect the layout of tables (separator and header) and read their rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from hoshina.core.errors import Refusal
from labeling.exporting.canonical_text import is_formula, without_escape
from labeling.tables.encoding import encoding_of, opened, refuse_controls

DELIMITERS = ",;\t|"
# Annotation tools write whole JSON documents into a cell. The limit of the csv module, 128 KiB, is process-wide.
LONGEST_CELL = 16 * 2**20
csv.field_size_limit(LONGEST_CELL)
# Characters and records of the file from which the separator is detected.
_SAMPLE, _RECORDS = 2**20, 50
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)

# Returns how well headers fit the request. Higher is better; 0 means not at all.
Rank = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Layout:
    """Hold the layout of a table. ``headers``: normalized column names. ``n_above``: number of lines above the header.

    ``format``: its name for people. ``read``: for formats other than CSV, yields the rows anew at each call, after
    their numbers. ``roles``: by header, what these formats say about a column (labeling.importing.columns).
    ``is_escaped``: apostrophes before formulas are those that an export adds for spreadsheets.
    """

    encoding: str
    delimiter: str
    headers: tuple[str, ...]
    n_above: int
    format: str = "CSV"
    read: Callable[[], Iterator[tuple[int, list[str]]]] | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    is_escaped: bool = True

    @property
    def listed(self) -> str:
        """Return a sentence that lists the first columns."""
        shown = ", ".join(repr(name[:40]) for name in self.headers[:20])
        return f"The columns are {shown or 'none'}{' and more' if len(self.headers) > 20 else ''}."


def layout_of(stream: BinaryIO, rank: Rank, encoding: str = "") -> Layout:
    """Detect the layout of a table.

    The separator is taken from Excel's ``sep=`` line. Otherwise it is the one whose columns fit best by ``rank``, then
    the one with which most lines have as many values as the header, then the one that gives most columns. Raises
    Refusal if the file is empty or not text.
    """
    encoding = encoding_of(stream, encoding)
    with opened(stream, encoding) as text:
        first, n_above = _first_line(text)
        declared = _SEPARATOR_LINE.fullmatch(first)
        if declared:
            first, more = _first_line(text)
            n_above += more + 1
        sample = first + text.read(_SAMPLE)
    refuse_controls(first)
    delimiter, headers = _best(sample, declared[1] if declared else DELIMITERS, rank)
    has_formulas = any(is_formula(value) for record in _records(sample, delimiter, None) for value in record)
    return Layout(encoding, delimiter, tuple(headers), n_above, is_escaped=not has_formulas)


def rows_of(stream: BinaryIO, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, after the number of their last line. Raises Refusal for unbalanced quotes."""
    if layout.read is not None:
        yield from ((number, values) for number, values in layout.read() if any(map(str.strip, values)))
        return
    number = layout.n_above
    with opened(stream, layout.encoding) as text:
        for _ in range(layout.n_above):
            text.readline()
        reader = csv.reader(text, delimiter=layout.delimiter, strict=True)
        try:
            next(reader, None)
            number += reader.line_num
            for values in reader:
                number = layout.n_above + reader.line_num
                if any(map(str.strip, values)):
                    yield number, [without_escape(value) for value in values] if layout.is_escaped else values
        except csv.Error as error:
            raise Refusal(
                f"The quotes after line {number} are unbalanced ({error}). Double the quotes inside a quoted value."
            ) from error


def _first_line(text: io.TextIOWrapper) -> tuple[str, int]:
    """Return the first non-empty line, and the number of lines before it."""
    number = 0
    while line := text.readline(_SAMPLE):
        if line.strip():
            return line, number
        number += 1
    raise Refusal("The file is empty.")


def _best(sample: str, delimiters: str, rank: Rank) -> tuple[str, list[str]]:
    options = [(_quality(records, rank), -place, delimiter, records[0])
             for place, delimiter in enumerate(delimiters)
             if (records := _records(sample, delimiter))]  # fmt: skip
    if not options:
        raise Refusal("The quotes in the first line are unbalanced. Double the quotes inside a quoted value.")
    _, _, delimiter, headers = max(options)
    return delimiter, headers


def _records(sample: str, delimiter: str, most: int | None = _RECORDS) -> list[list[str]]:
    """Return the first complete records of the sample; all of them without ``most``."""
    records: list[list[str]] = []
    try:
        for record in islice(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, strict=True), most):
            if any(map(str.strip, record)):
                records.append(record)
    except csv.Error:
        pass
    if records:
        records[0] = _tidied(records[0])
    return records


def _tidied(names: Sequence[str]) -> list[str]:
    tidy = [" ".join(name.split()) for name in names]
    while tidy and not tidy[-1]:  # trailing separators
        tidy.pop()
    return tidy


def _quality(records: Sequence[Sequence[str]], rank: Rank) -> tuple[int, float, int]:
    headers, *below = records
    alike = sum(len(record) >= len(headers) for record in below)
    share = round(alike / len(below), 1) if below and len(headers) > 1 else float(len(headers) > 1)
    return rank(headers), share, len(headers)
