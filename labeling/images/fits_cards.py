"""Read selected header cards of plain FITS files, because parsing all cards with astropy is slow.

A plain file consists of images and tables under headers that follow the standard. All other files (compressed images,
random groups, nonstandard headers) are left to astropy by :func:`labeling.images.file_headers.values_of`. Astropy still
interprets the cards that are read; only cards that certainly have another name are skipped.
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
# Astropy accepts some nonstandard cards as the end.
_LIKE_AN_END = re.compile(rb"END(?![A-Z0-9_-])")
# Values of the first card of the first and of later parts, and whether the part is an image.
_KINDS = {b"T": True, b"'IMAGE   '": True, b"'BINTABLE'": False, b"'TABLE   '": False}


class NotPlain(Exception):
    """The file has to be read by astropy."""


def headers_in(stream: BinaryIO, names: Sequence[str], hdu: int | None) -> list[Any]:
    """Return astropy headers of the displayed part and, if it is another, of the first part.

    They contain all cards that ``names`` may refer to, and few others. The displayed part is number ``hdu``, or the
    first with an image if None. The file is read up to the header of this part. Raises NotPlain if the file is not
    plain up to this part, or has no such part.
    """
    is_packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if is_packed else stream
    first = None
    for number in count():
        header = _Header(plain, is_first=not number)
        first = first or header
        if number == hdu or (hdu is None and header.is_image):
            if not header.is_image:
                raise NotPlain
            return [selected.with_cards(names) for selected in dict.fromkeys((header, first))]
        plain.seek(header.n_bytes + -header.n_bytes % _BLOCK, 1)
    raise AssertionError


class _Header:
    """A header: whether it describes an image (``is_image``), and the size of the data that follow (``n_bytes``)."""

    def __init__(self, stream: BinaryIO, *, is_first: bool) -> None:
        self._cards = _cards(stream)
        self._names = [card[:_NAME] for card in self._cards]
        name = b"SIMPLE  " if is_first else b"XTENSION"
        is_image = _KINDS.get(self._value_of(name))
        has_groups = b"GROUPS  " in self._names and self._value_of(b"GROUPS  ") != b"F"
        if is_image is None or self._names[0] != name or b"ZIMAGE  " in self._names or has_groups:
            raise NotPlain
        axes = [self._number(b"NAXIS%d" % (axis + 1)) for axis in range(self._number(b"NAXIS"))]
        self.is_image = is_image and len(axes) >= 2 and 0 not in axes
        n_values = self._number(b"PCOUNT", 0) + prod(axes) if axes else 0
        self.n_bytes = abs(self._number(b"BITPIX")) * self._number(b"GCOUNT", 1) * n_values // 8

    def _value_of(self, name: bytes) -> bytes:
        """Return the value of a structural card without its comment. Such values contain no slash."""
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
        value = self._value_of(name)
        if not _INTEGER.fullmatch(value) or (int(value) < 0 and name != b"BITPIX  "):
            raise NotPlain
        return int(value)

    def with_cards(self, names: Sequence[str]) -> Any:
        """Return an astropy Header with cards of these ``names``, also HIERARCH and records such as "DP1.AXIS.1"."""
        from astropy.io.fits import Card, Header

        keywords = [Card.normalize_keyword(name).upper() for name in names]
        heads = {head.encode() for name in keywords for head in (name, name.split(".")[0])}
        cards: list[bytes] = []
        is_selected = False
        for name, card in zip(self._names, self._cards, strict=True):
            if name != b"CONTINUE":
                is_selected = name == b"HIERARCH" or name.rstrip() in heads or not _USUAL_NAME.fullmatch(name)
            if is_selected:
                cards.append(card)
        return Header.fromstring(b"".join(cards).decode("ascii"))


def _cards(stream: BinaryIO) -> list[bytes]:
    """Return the cards of the header that begins here, without its END. Leave the stream after its last block."""
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
