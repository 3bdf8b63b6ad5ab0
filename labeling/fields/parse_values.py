"""Parse values as people write them: the kind of a column, numbers and times from text, and text from them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# Texts for missing values, in any case. Infinity cannot be sorted by either.
_UNKNOWN = frozenset({"", "-", "–", "—", "nan", "null", "n/a", "inf", "+inf", "-inf"})
_LONGEST_UNKNOWN = max(map(len, _UNKNOWN))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ].+)?")
# EXIF writes 2024:05:01 12:34:56, and zeros if the time is unknown.
_EXIF_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d)([T ].+)?")
# 0042 and 5853498713160606720 are identifiers: as numbers they would lose zeros or digits.
_LEADING_ZERO = re.compile(r"[+-]?0\d")
_EXACT_DIGITS = 15
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def is_unknown(text: str) -> bool:
    """Return whether a stripped cell has no value."""
    return len(text) <= _LONGEST_UNKNOWN and text.lower() in _UNKNOWN


def number_of(text: str) -> float | None:
    """Return the number in stripped ``text``, NaN if it is too large, None if it is not a number."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else math.nan


def time_of(text: str) -> float | None:
    """Return seconds since 1970 of a date or time in the format of ISO 8601 or EXIF; UTC is the default time zone.

    NaN for EXIF's placeholder of an unknown time (``0000:00:00 00:00:00``); None for other text.
    """
    if not _TIME.fullmatch(text):
        exif = _EXIF_TIME.fullmatch(text)
        if exif is None:
            return None
        year, month, day, clock = exif.groups()
        if year == month + day == "0000":
            return math.nan
        text = f"{year}-{month}-{day}{clock or ''}"
    try:
        moment = datetime.fromisoformat(text)
        return seconds_of(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def seconds_of(moment: datetime) -> float:
    """Return seconds since 1970 to the microsecond; unlike ``timestamp``, for any year and on any system."""
    return (moment - _EPOCH) / _MICROSECOND / 1e6


def number_text(value: float) -> str:
    """Format a number as short as possible without loss: 3, not 3.0."""
    return str(int(value)) if value.is_integer() and abs(value) < 10**_EXACT_DIGITS else repr(value)


def time_text(seconds: float) -> str:
    """Format a time in UTC as short ISO 8601: 2011-06-07, 2011-06-07T06:33:02Z."""
    moment = _EPOCH + timedelta(microseconds=round(seconds * 1e6))
    if (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0):
        return moment.date().isoformat()
    return moment.replace(tzinfo=None).isoformat() + "Z"


@dataclass
class Guess:
    """The kind of a column, determined value by value.

    It is a number if all known values are numbers (or none is known), a time if all are times, else a text.
    ``not_number`` and ``not_time`` are the first values that rule these out, with their line.
    """

    n_known: int = 0
    not_number: tuple[int, str] | None = None
    not_time: tuple[int, str] | None = None
    # A number that looks like an identifier: it makes the column a text, but may be read as a number.
    is_name: bool = False

    def add(self, line: int, text: str) -> None:
        """Add a stripped value."""
        if is_unknown(text):
            return
        self.n_known += 1
        if self.not_number is None:
            if not _NUMBER.fullmatch(text):
                self.not_number = (line, text)
            elif not self.is_name:
                self.is_name = _is_name(text)
        if self.not_time is None and time_of(text) is None:
            self.not_time = (line, text)

    @property
    def kind(self) -> str:
        """Return ``number``, ``time`` or ``text``, as in Field.Kind."""
        if self.not_number is None and not self.is_name:
            return "number"
        return "time" if self.not_time is None else "text"

    def against(self, kind: str) -> tuple[int, str] | None:
        """Return the first value that does not fit ``kind``, with its line; None if all fit."""
        return {"number": self.not_number, "time": self.not_time}.get(kind)


def _is_name(text: str) -> bool:
    if _LEADING_ZERO.match(text):
        return True
    digits = text.lstrip("+-")
    return len(digits) > _EXACT_DIGITS and digits.isdigit() and int(float(digits)) != int(digits)
