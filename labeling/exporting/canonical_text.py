"""Format CSV lines, numbers and JSON with the same bytes on every machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

_QUOTED = re.compile(r'[",\r\n]')
# A field of a line as csv_line writes it, and what ends it.
_FIELD = re.compile(r'("(?:[^"]|"")*"|[^",\n]*)([,\n])')
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def cell(value: str) -> str:
    """Return one CSV field, quoted if necessary (RFC 4180).

    The csv module is not used, because Python versions differ in whether they quote ``\\r`` and ``\\n``. Values are
    written exactly, because they are data; :func:`escape_formulas` changes them for spreadsheets.
    """
    return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value


def csv_line(values: Iterable[object]) -> str:
    """Return a row that ends in ``\\n``. Booleans are written as true and false, None as an empty field."""
    return ",".join(cell(_plain(value)) for value in values) + "\n"


def escape_formulas(lines: bytes) -> bytes:
    """Put an apostrophe before fields of CSV lines that a spreadsheet would run as formulas. Numbers stay unchanged."""
    return _FIELD.sub(_escaped, lines.decode()).encode()


def is_formula(value: str) -> bool:
    """Return whether a spreadsheet would run a field as a formula. An export for spreadsheets has none."""
    return value.startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(value)


def _escaped(field: re.Match[str]) -> str:
    text, end = field.groups()
    content = text[1:-1].replace('""', '"') if text.startswith('"') else text
    if not content.lstrip("'").startswith(_FORMULA_STARTS) or _NUMBER.fullmatch(content):
        return field[0]
    return cell(f"'{content}") + end


def without_escape(value: str) -> str:
    """Return a field of a table as it was before :func:`escape_formulas`."""
    is_escaped = value.startswith("'") and value.lstrip("'").startswith(_FORMULA_STARTS)
    return value[1:] if is_escaped else value


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def number(value: float) -> str:
    """Return a number with six significant digits, the precision of float32."""
    return format(float(value), ".6g")


def moment(value: datetime | None) -> str:
    """Return a time in UTC with microseconds; empty for None."""
    if value is None:
        return ""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def json_bytes(value: Any) -> bytes:
    """Return indented JSON with sorted keys in UTF-8."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()
