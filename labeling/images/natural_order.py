"""Sort names in natural order: digits count as numbers, so that frame2 comes before frame10."""

from __future__ import annotations

import re

# ASCII digits only. Digits of other scripts are sorted like letters.
_NUMBER = re.compile("[0-9]+")


def natural_key(name: str) -> str:
    """Return the sort key of a name: text compares without case, numbers by value.

    Names that differ only in case or leading zeros compare as plain text, so the order is total and the same on every
    machine. The key is a single string, which sorts several times as fast as a list of texts and numbers.
    """
    return _NUMBER.sub(_by_length, name.casefold()) + "\0" + name


def _by_length(match: re.Match[str]) -> str:
    """Encode a number so that text order is numeric order: "0", the number of digits, and the digits."""
    digits = match[0].lstrip("0")
    return f"0{chr(len(digits) + 1)}{digits}"
