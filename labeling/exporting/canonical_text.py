"""Format CSV lines, numbers and JSON with the same bytes on every machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

_QUOTED = re.compile(r'[",\r\n]')


def cell(value: str) -> str:
    """Return one CSV field, quoted if necessary (RFC 4180).

    The csv module is not used, because Python versions differ in whether they quote ``\\r`` and ``\\n``. Values are
    written exactly, even if a spreadsheet might interpret them as formulas, because they are data.
    """
    return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value


def csv_line(values: Iterable[object]) -> str:
    """Return a row that ends in ``\\n``. Booleans are written as true and false, None as an empty field."""
    return ",".join(cell(_plain(value)) for value in values) + "\n"


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
