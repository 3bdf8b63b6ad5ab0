"""Natural order of names: digits count as numbers, so that frame2 comes before frame10."""

from __future__ import annotations

import re

# Only ASCII digits: other scripts' digits are ordered as letters.
_NUMBER = re.compile("[0-9]+")


def natural_key(name: str) -> str:
    """Return the sort key of a name: text without regard to case, numbers by value.

    Names that differ in case or in leading zeros only are ordered as plain text, so the order is total and the same on
    every machine. The key is one string, which sorts several times as fast as a list of text and numbers.
    """
    return _NUMBER.sub(_by_length, name.casefold()) + "\0" + name


def _by_length(match: re.Match[str]) -> str:
    """Write a number so that text order is numeric order: a digit, how many digits follow, and these."""
    digits = match[0].lstrip("0")
    return f"0{chr(len(digits) + 1)}{digits}"
