"""How a table is laid out: its separator, where its header is, and its rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from labeling.tables.encoding import TableProblem, encoding_of, opened, refuse_controls

DELIMITERS = ",;\t|"
# Annotation tools put whole JSON documents into a cell. The csv module has one limit for the process, 128 KiB.
LONGEST_CELL = 16 * 2**20
csv.field_size_limit(LONGEST_CELL)
# By so many characters and records of the file its separator is chosen.
_SAMPLE, _RECORDS = 2**20, 50
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)

# How well headers suit what is asked for: higher is better, 0 not at all.
Rank = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Layout:
    """``headers``: tidied names of the columns; ``n_above``: lines before the one that names them."""

    encoding: str
    delimiter: str
    headers: tuple[str, ...]
    n_above: int

    @property
    def listed(self) -> str:
        """Return the first columns, for a message."""
        shown = ", ".join(repr(name[:40]) for name in self.headers[:20])
        return f"The columns are {shown or 'none'}{' and more' if len(self.headers) > 20 else ''}."


def layout_of(stream: BinaryIO, rank: Rank, encoding: str = "") -> Layout:
    """Find how a table is laid out.

    The separator is that of Excel's ``sep=`` line. Else it is the one whose columns suit best by ``rank``, then the one
    by which most lines have as many values as the header, then the one that makes most columns.

    Raises
    ------
    TableProblem
        It is empty, or not text.
    """
    encoding = encoding_of(stream, encoding)
    with opened(stream, encoding) as text:
        first, n_above = _first_line(text)
        told = _SEPARATOR_LINE.fullmatch(first)
        if told:
            first, more = _first_line(text)
            n_above += more + 1
        sample = first + text.read(_SAMPLE)
    refuse_controls(first)
    delimiter, headers = _best(sample, told[1] if told else DELIMITERS, rank)
    return Layout(encoding, delimiter, tuple(headers), n_above)


def rows_of(stream: BinaryIO, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield every row below the header with the number of its last line; empty rows are left out. May be begun again.

    Raises
    ------
    TableProblem
        The quotes do not add up.
    """
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
                    yield number, values
        except csv.Error as error:
            raise TableProblem(
                f"After line {number} the quotes do not add up ({error}). Quotes inside a quoted value are doubled."
            ) from error


def _first_line(text: io.TextIOWrapper) -> tuple[str, int]:
    """Return the first line that is not empty, and how many are before it."""
    number = 0
    while line := text.readline(_SAMPLE):
        if line.strip():
            return line, number
        number += 1
    raise TableProblem("The file is empty.")


def _best(sample: str, delimiters: str, rank: Rank) -> tuple[str, list[str]]:
    found = [(_quality(records, rank), -place, delimiter, records[0])
             for place, delimiter in enumerate(delimiters)
             if (records := _records(sample, delimiter))]  # fmt: skip
    if not found:
        raise TableProblem("In the first line the quotes do not add up. Quotes inside a quoted value are doubled.")
    _, _, delimiter, headers = max(found)
    return delimiter, headers


def _records(sample: str, delimiter: str) -> list[list[str]]:
    """Return the first records of the sample; it may end within one."""
    records: list[list[str]] = []
    try:
        for record in islice(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, strict=True), _RECORDS):
            if any(map(str.strip, record)):
                records.append(record)
    except csv.Error:
        pass
    if records:
        records[0] = _tidied(records[0])
    return records


def _tidied(names: Sequence[str]) -> list[str]:
    tidy = [" ".join(name.split()) for name in names]
    while tidy and not tidy[-1]:  # separators at the end of the line
        tidy.pop()
    return tidy


def _quality(records: Sequence[Sequence[str]], rank: Rank) -> tuple[int, float, int]:
    headers, *below = records
    alike = sum(len(record) >= len(headers) for record in below)
    share = round(alike / len(below), 1) if below and len(headers) > 1 else float(len(headers) > 1)
    return rank(headers), share, len(headers)
