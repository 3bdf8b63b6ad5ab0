"""Paths of people's files on a page."""

from __future__ import annotations

from django import template

register = template.Library()

# Joins emoji; the only invisible character that file names have for good reasons.
_ZERO_WIDTH_JOINER = "\u200d"


@register.filter
def printable(path: object) -> str:
    r"""The path on one line: newlines, control and direction marks are written out as ``\n``, ``\u202e`` …"""
    return "".join(
        character
        if character.isprintable() or character == _ZERO_WIDTH_JOINER
        else character.encode("unicode_escape").decode("ascii")
        for character in str(path)
    )
