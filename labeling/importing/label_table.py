"""Read and check the rows of a label table, without database access."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, NamedTuple

from hoshina.core.errors import Refusal
from labeling.fields.parse_values import time_of
from labeling.importing.columns import EXPECTED, Choice, Columns, Role, answer_of, columns_of, rank
from labeling.importing.formats.registry import open_table
from labeling.tables import layout as tables
from labeling.tables.match_rows import id_of

__all__ = ["EXPECTED", "Choice", "Layout", "Row", "layout_of", "read_rows", "sample_of"]

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
_SAMPLE = 50


class Remarks(NamedTuple):
    """Hold what a line remarks about an item. ``notes`` is a text, or a JSON list as exports have it."""

    is_flagged: bool = False
    tags: str = ""
    notes: str = ""


NO_REMARKS = Remarks()


@dataclass(frozen=True, slots=True)
class Row:
    """Represent a checked line of the file. ``path`` names the item; if it is empty, ``item_id`` does.

    ``confidence`` is the share of the votes for the label, NaN without votes. ``time``: seconds since 1970, or NaN.
    """

    line: int
    path: str
    item_id: int | None
    label: str
    was_unsure: bool
    is_skipped: bool
    annotator: str = ""
    confidence: float = field(default=math.nan, compare=False)
    time: float = field(default=math.nan, compare=False)
    remarks: Remarks = NO_REMARKS

    @property
    def is_decision(self) -> bool:
        return bool(self.label or self.was_unsure or self.is_skipped)


@dataclass(frozen=True)
class Layout:
    """Hold the layout of a label table. ``key``: how ``path`` names items. ``columns``: the roles of its columns.

    ``item_id``: the index of a second column that names items. ``may_be_foreign``: the paths may be those of another
    machine.
    """

    table: tables.Layout
    key: str
    columns: Columns
    item_id: int | None = None
    may_be_foreign: bool = False

    def header(self, role: Role) -> str:
        """Return the file's name of the column with a role; empty if it is missing."""
        place = self.columns.place(role)
        return "" if place is None else self.table.headers[place]

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the headers of the columns that become metadata fields."""
        return tuple(self.table.headers[place] for place in self.columns.places(Role.FIELD))


def table_of(stream: BinaryIO, choice: Choice) -> tables.Layout:
    """Recognize the format of the file and return its table. Raises Refusal if it is none."""
    return open_table(stream, lambda headers: rank(headers, choice), choice.encoding, choice.file_name)


def sample_of(stream: BinaryIO, table: tables.Layout) -> list[list[str]]:
    """Return the first rows."""
    return [values for _, values in islice(tables.rows_of(stream, table), _SAMPLE)]


def layout_of(stream: BinaryIO, choice: Choice) -> Layout:
    """Detect the layout of the table. Reads a text file once as a whole to detect its encoding.

    Raises Refusal if the file is empty or of an unknown format, or the columns are missing or ambiguous.
    """
    table = table_of(stream, choice)
    columns = columns_of(table.headers, choice, table.roles, sample_of(stream, table))
    return _layout(table, columns, choice)


def _layout(table: tables.Layout, columns: Columns, choice: Choice) -> Layout:
    lower = [name.lower() for name in table.headers]
    # Exports name items twice. The path goes first, unless the user chose how they are named.
    is_chosen = choice.key or choice.key_column or choice.roles
    item_id = lower.index("item_id") if "item_id" in lower and not is_chosen and columns.key != "item_id" else None
    return Layout(table, columns.key, columns, item_id, may_be_foreign=columns.key == "path" and not choice.key)


def read_rows(stream: BinaryIO, layout: Layout | None = None) -> Iterator[Row]:
    """Yield the rows of a label table. Raises Refusal if the file can't be read, or a line is invalid."""
    for row, _ in read_values(stream, layout or layout_of(stream, Choice())):
        yield row


def read_values(stream: BinaryIO, layout: Layout) -> Iterator[tuple[Row, list[str]]]:
    """Yield each row with all values of its line, like :func:`read_rows`."""
    parts = _Parts(layout)
    for number, values in tables.rows_of(stream, layout.table):
        yield _row(number, values, parts), values


class _Parts:
    """Hold the index of each column that rows are read from; -1 if it is missing."""

    def __init__(self, layout: Layout) -> None:
        def place(role: Role) -> int:
            found = layout.columns.place(role)
            return -1 if found is None else found

        is_by_id = layout.key == "item_id"
        self.path = -1 if is_by_id else place(Role.IMAGE)
        self.item_id = place(Role.IMAGE) if is_by_id else -1 if layout.item_id is None else layout.item_id
        self.label, self.unsure, self.skipped = place(Role.LABEL), place(Role.UNSURE), place(Role.SKIPPED)
        self.annotator, self.time = place(Role.ANNOTATOR), place(Role.TIME)
        self.flagged, self.tags, self.notes = place(Role.FLAGGED), place(Role.TAGS), place(Role.NOTES)
        self.has_remarks = max(self.flagged, self.tags, self.notes) >= 0
        headers = layout.table.headers
        self.votes = [(spot, answer_of(headers[spot])) for spot in layout.columns.places(Role.VOTES)]


def _row(line: int, values: Sequence[str], parts: _Parts) -> Row:
    n = len(values)

    def value(place: int) -> str:
        return values[place] if 0 <= place < n else ""

    path, item_id = value(parts.path), value(parts.item_id).strip()
    if not path.strip() and not item_id:
        raise Refusal(f"Line {line} has neither a path nor an item_id. Add one of them.")
    label, confidence, is_tie = value(parts.label).strip(), math.nan, False
    if parts.votes:
        label, confidence, is_tie = _top(line, [(value(place), name) for place, name in parts.votes])
    return Row(
        line=line,
        path=path if path.strip() else "",
        item_id=id_of(line, item_id) if item_id else None,
        label=label,
        was_unsure=_boolean(line, "was_unsure", value(parts.unsure)) or is_tie,
        is_skipped=_boolean(line, "skipped", value(parts.skipped)),
        annotator=value(parts.annotator).strip(),
        confidence=confidence,
        time=_time(value(parts.time).strip()) if parts.time >= 0 else math.nan,
        remarks=_remarks(line, value, parts) if parts.has_remarks else NO_REMARKS,
    )


def _top(line: int, votes: Sequence[tuple[str, str]]) -> tuple[str, float, bool]:
    """Return the class with most votes, its share if it is not certain, and whether there is a tie."""
    numbers = [(_number(line, text), name) for text, name in votes]
    votes_cast = [(number, name) for number, name in numbers if not math.isnan(number)]
    if any(number < 0 for number, _ in votes_cast):
        raise Refusal(f"Line {line} has negative votes. Choose other columns, or correct the line.")
    total = sum(number for number, _ in votes_cast)
    if not total:
        return "", math.nan, False
    most = max(number for number, _ in votes_cast)
    winners = [name for number, name in votes_cast if number == most]
    if len(winners) > 1:
        return "", math.nan, True
    # Shares of all answers are taken as they are; counts of votes become shares.
    share = most if most <= 1 and (total <= 1.02 or most < 1) else most / total
    return winners[0], math.nan if share == 1 else share, False


def _remarks(line: int, value: Callable[[int], str], parts: _Parts) -> Remarks:
    remarks = Remarks(
        _boolean(line, "flagged", value(parts.flagged)), value(parts.tags).strip(), value(parts.notes).strip()
    )
    return remarks if any(remarks) else NO_REMARKS


def _boolean(line: int, name: str, value: str) -> bool:
    boolean = _BOOLEANS.get(value.strip().lower())
    if boolean is None:
        raise Refusal(f"Line {line}: {name} is {value.strip()[:40]!r}. Expected true or false.")
    return boolean


def _number(line: int, value: str) -> float:
    text = value.strip()
    try:
        return float(text) if text else math.nan
    except ValueError:
        raise Refusal(f"Line {line}: {text[:40]!r} is not a number, as votes are.") from None


def _time(text: str) -> float:
    seconds = time_of(text)
    return math.nan if seconds is None else seconds
