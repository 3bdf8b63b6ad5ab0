"""Read header cards of plain FITS files and skip all others: most of astropy's time goes to cards nobody asked for.

A plain file holds images and tables under headers that follow the rules of the standard. Everything else (compressed
images, random groups, a broken rule) is left to astropy by :func:`labeling.images.file_headers.values_of`. astropy also
interprets every card that is read; only cards that are certainly others are skipped here.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from itertools import count
from math import prod
from typing import Any, BinaryIO, cast

_BLOCK, _CARD, _NAME = 2880, 80, 8
_END = b"END".ljust(_CARD)
_USUAL_NAME = re.compile(rb"[A-Z0-9_-]* *")
_INTEGER = re.compile(rb"[+-]?\d+")
# Astropy takes some cards for the end that are not written as it has to be.
_LIKE_AN_END = re.compile(rb"END(?![A-Z0-9_-])")
# What the first card says of the first part and of others, and whether that is an image.
_KINDS = {b"T": True, b"'IMAGE   '": True, b"'BINTABLE'": False, b"'TABLE   '": False}


class NotPlain(Exception):
    """The file has to be read by astropy."""


def headers_in(stream: BinaryIO, names: Sequence[str], hdu: int | None) -> list[Any]:
    """The headers of the part that is shown and, if that is another, of the first part: astropy's, with all cards that
    ``names`` may mean and few others.

    Reads up to the header of the part that is shown: the one of that number, or the first with an image.

    Raises
    ------
    NotPlain
        Somewhere up to there the file is not, or has no such part.
    """
    plain = _unpacking(stream)
    first = None
    for number in count():
        header = _Header(plain, is_first=not number)
        first = first or header
        if number == hdu or (hdu is None and header.is_image):
            if not header.is_image:
                raise NotPlain
            return [one.with_cards(names) for one in dict.fromkeys((header, first))]
        plain.seek(header.n_bytes + -header.n_bytes % _BLOCK, 1)
    raise AssertionError


def _unpacking(stream: BinaryIO) -> BinaryIO:
    is_packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if is_packed else stream


class _Header:
    """One header as it lies in the file. ``is_image``: of an image of two dimensions or more; ``n_bytes``: of what is
    behind it."""

    def __init__(self, stream: BinaryIO, *, is_first: bool) -> None:
        self._cards = _cards(stream)
        self._names = [card[:_NAME] for card in self._cards]
        name = b"SIMPLE  " if is_first else b"XTENSION"
        is_image = _KINDS.get(self._said(name))
        has_groups = b"GROUPS  " in self._names and self._said(b"GROUPS  ") != b"F"
        if is_image is None or self._names[0] != name or b"ZIMAGE  " in self._names or has_groups:
            raise NotPlain
        axes = [self._number(b"NAXIS%d" % (axis + 1)) for axis in range(self._number(b"NAXIS"))]
        self.is_image = is_image and len(axes) >= 2 and 0 not in axes
        n_values = self._number(b"PCOUNT", 0) + prod(axes) if axes else 0
        self.n_bytes = abs(self._number(b"BITPIX")) * self._number(b"GCOUNT", 1) * n_values // 8

    def _said(self, name: bytes) -> bytes:
        """What stands behind a card's name and before its comment; of structure, where no text has a slash."""
        if self._names.count(name) != 1:
            raise NotPlain
        card = self._cards[self._names.index(name)]
        if card[_NAME : _NAME + 2] != b"= ":
            raise NotPlain
        return card[_NAME + 2 :].split(b"/", 1)[0].strip()

    def _number(self, name: bytes, default: int | None = None) -> int:
        name = name.ljust(_NAME)
        if default is not None and name not in self._names:
            return default
        said = self._said(name)
        if not _INTEGER.fullmatch(said) or (int(said) < 0 and name != b"BITPIX  "):
            raise NotPlain
        return int(said)

    def with_cards(self, names: Sequence[str]) -> Any:
        """As astropy's Header, which tells cards by more names than one: HIERARCH, and the records of "DP1.AXIS.1"."""
        from astropy.io.fits import Card, Header

        asked = [Card.normalize_keyword(name).upper() for name in names]
        heads = {head.encode() for name in asked for head in (name, name.split(".")[0])}
        kept: list[bytes] = []
        is_kept = False
        for name, card in zip(self._names, self._cards, strict=True):
            if name != b"CONTINUE":
                is_kept = name == b"HIERARCH" or name.rstrip() in heads or not _USUAL_NAME.fullmatch(name)
            if is_kept:
                kept.append(card)
        return Header.fromstring(b"".join(kept).decode("ascii"))


def _cards(stream: BinaryIO) -> list[bytes]:
    """The cards of the header that begins here, without its end; the stream is left behind its last block."""
    cards: list[bytes] = []
    while len(block := stream.read(_BLOCK)) == _BLOCK and block.isascii():
        for start in range(0, _BLOCK, _CARD):
            card = block[start : start + _CARD]
            if card == _END:
                return cards
            if card.startswith(b"END") and _LIKE_AN_END.match(card):
                raise NotPlain
            cards.append(card)
    raise NotPlain
