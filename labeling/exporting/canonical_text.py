"""Lines, numbers and JSON whose bytes are the same on every machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

_QUOTED = re.compile(r'[",\r\n]')


def cell(value: str) -> str:
    """One CSV field, quoted where it has to be (RFC 4180).

    Not the csv module's writer: which of ``\\r`` and ``\\n`` it quotes differs between Python versions.
    Values are kept exactly, also those that a spreadsheet might take for a formula: this is data.
    """
    return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value


def csv_line(values: Iterable[object]) -> str:
    """A row ending in ``\\n``; booleans are true/false, ``None`` is empty."""
    return ",".join(cell(_plain(value)) for value in values) + "\n"


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def number(value: float) -> str:
    """Six significant digits: what a float32 carries."""
    return format(float(value), ".6g")


def moment(value: datetime | None) -> str:
    """A time in UTC with microseconds, whatever zone it came in; empty for none."""
    if value is None:
        return ""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def json_bytes(value: Any) -> bytes:
    """Indented JSON with sorted keys, UTF-8."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()
