"""Read annotations.csv, and check its lines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from math import isfinite
from typing import Any, NoReturn
from uuid import UUID

from hoshina.core.errors import Refusal
from labeling.decisions.provenance import MAX_RENDERING
from labeling.exporting.canonical_text import without_escape
from labeling.history.columns import COLUMNS, FLAG, NUMBER, REAL, TIME
from labeling.history.parts import time_of
from labeling.models import MAX_PATH, Action, State

_AGAIN = "Export the dataset again."
_REQUIRED = ("number", "item_id", "path", "state", "decided_at", "action", "action_kind", "action_at")
_LENGTHS = {"path": MAX_PATH, "queue": 40, "rendering": MAX_RENDERING, "holder": 64, "annotator": 150, "action_by": 150}
_MAX_NUMBER = 2**62
# Numbers below 0 mean nothing in any column.
_STATES = {str(state.label): state for state in State}
_KINDS = frozenset(Action.Kind.values)
_FLAGS = {"true": True, "false": False}

Line = Mapping[str, Any]


def read_lines(lines: Iterable[bytes], *, is_escaped: bool) -> Iterator[Line]:
    """Yield the lines of a file as values by column; empty cells are None, or "" for texts.

    Raises Refusal for an invalid line.

    ``state`` is a State and ``action``, ``undoes`` and ``undone_by`` are UUIDs or None. Lines are numbered from 1, and
    actions are whole: their lines follow each other.
    """
    reader = csv.reader((line.decode() for line in lines), strict=True)
    try:
        headers = next(reader, [])
        if missing := [name for name in COLUMNS if name not in headers]:
            raise Refusal(f"annotations.csv lacks the column {missing[0]}.", _AGAIN)
        places = [(name, headers.index(name), kind) for name, kind in COLUMNS.items()]
        for number, cells in enumerate(reader, 1):
            if len(cells) != len(headers):
                _refuse(number, f"has {len(cells)} cells, and {len(headers)} columns")
            values = map(without_escape, cells) if is_escaped else cells
            yield _line(number, list(values), places)
    except (csv.Error, UnicodeDecodeError) as error:
        raise Refusal(f"annotations.csv can't be read: {error}.", _AGAIN) from error


def _line(number: int, cells: list[str], places: list[tuple[str, int, str]]) -> Line:
    line = {name: _value(number, name, cells[place], kind) for name, place, kind in places}
    for name in _REQUIRED:
        if line[name] in (None, ""):
            _refuse(number, f"has no {name}")
    if line["number"] != number:
        _refuse(number, f"has the number {line['number']}")
    if line["state"] not in _STATES:
        _refuse(number, f"has the unknown state {line['state']!r}")
    if line["action_kind"] not in _KINDS:
        _refuse(number, f"has the unknown action_kind {line['action_kind']!r}")
    line["state"] = _STATES[line["state"]]
    if (line["state"] == State.LABELLED) != (line["label_id"] is not None):
        _refuse(number, "is labeled without a label_id, or has one without being labeled")
    if line["previous"] is not None and not 1 <= line["previous"] < number:
        _refuse(number, "refers to a decision that is not before it")
    for name in ("action", "undoes", "undone_by"):
        line[name] = _uuid(number, line[name]) if line[name] else None
    for name, most in _LENGTHS.items():
        if len(line[name]) > most:
            _refuse(number, f"has more than {most} characters in {name}")
    return line


def _value(number: int, name: str, cell: str, kind: str) -> Any:
    parse = _PARSERS.get(kind)
    if parse is None:
        if "\0" in cell:
            _refuse(number, f"has a NUL character in {name}")
        return cell
    if not cell:
        return None
    try:
        return parse(cell)
    except (ValueError, KeyError, OverflowError):
        _refuse(number, f"has {cell[:40]!r} in {name}")


def _whole(cell: str) -> int:
    found = int(cell) if len(cell) < 20 else _MAX_NUMBER
    if not 0 <= found < _MAX_NUMBER:
        raise ValueError(cell)
    return found


def _real(cell: str) -> float:
    found = float(cell)
    if not isfinite(found):
        raise ValueError(cell)
    return found


def _time(cell: str) -> datetime:
    try:
        return time_of(cell)
    except Refusal as error:
        raise ValueError(cell) from error


def _uuid(number: int, cell: str) -> UUID:
    try:
        return UUID(cell)
    except ValueError:
        _refuse(number, f"has {cell[:40]!r} in place of the uuid of an action")


def _refuse(number: int, problem: str) -> NoReturn:
    raise Refusal(f"Decision {number} of annotations.csv {problem}.", _AGAIN)


_PARSERS: dict[str, Callable[[str], Any]] = {NUMBER: _whole, REAL: _real, TIME: _time, FLAG: _FLAGS.__getitem__}
