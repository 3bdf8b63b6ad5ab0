"""Read file headers: FITS header cards and sky position, or the EXIF block of other formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labeling.images import exif, fits, fits_cards
from labeling.images.library_warnings import without_warnings
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.source_file import as_image_problems, regular_file

_MOST_CARDS = 5000
_LONGEST = 300
# Labels of longitude and latitude by the FITS name of the longitude.
_NAMES = {
    "RA": ("Right ascension", "Declination"),
    "GLON": ("Galactic longitude", "Galactic latitude"),
    "ELON": ("Ecliptic longitude", "Ecliptic latitude"),
    "HPLN": ("Helioprojective x", "Helioprojective y"),
    "CRLN": ("Carrington longitude", "Carrington latitude"),
    "HGLN": ("Heliographic longitude", "Heliographic latitude"),
}


@dataclass(frozen=True, slots=True)
class Card:
    """One line of a header. ``hdu``: the number of the FITS part that it belongs to."""

    hdu: int
    name: str
    value: str
    comment: str


@dataclass(frozen=True, slots=True)
class Header:
    """The cards of the displayed image, followed by those of the first part, and the sky position of its center.

    ``sky``: pairs of label and text, such as ("Right ascension", "05h35m17.3s"); empty without a usable WCS.
    """

    cards: tuple[Card, ...]
    sky: tuple[tuple[str, str], ...]


def values_of(path: Path, names: Sequence[str], rendering: Rendering = DEFAULT) -> list[str]:
    """Return the values of the header cards ``names``, with "" for missing ones.

    FITS: from the displayed image, or else from the first part of the file. Other formats: from the EXIF block
    (:data:`labeling.images.exif.COMMENTS`). Reads no pixels. Raises ImageProblem if the image cannot be opened.
    """
    with as_image_problems(), without_warnings(), regular_file(path) as stream:
        if not fits.is_fits(stream):
            facts = exif.facts_in(stream)
            return [facts.get(exif.name_of(name) or "", "") for name in names]
        try:
            headers = fits_cards.headers_in(stream, names, rendering.hdu)
        except fits_cards.NotPlain:
            with fits.open_parts(stream) as parts:
                headers = [fits.select_part(parts, rendering.hdu).header, parts[0].header]
        return [_value(headers, name) for name in names]


def _value(headers: Sequence[Any], name: str) -> str:
    for header in headers:
        try:
            value = header.get(name)
        except Exception:  # noqa: BLE001, S112 - a damaged card raises anything, and counts as missing
            continue
        if value is not None and (text := _text(value)):
            return text[:_LONGEST]
    return ""


def header_of(path: Path, rendering: Rendering = DEFAULT, with_sky: bool = True) -> Header:
    """Return the FITS header of a file, or the EXIF block of other formats. Raises ImageProblem if unreadable."""
    with as_image_problems(), regular_file(path) as stream:
        if not fits.is_fits(stream):
            facts = exif.facts_in(stream)
            return Header(tuple(Card(0, name, value, exif.COMMENTS[name]) for name, value in facts.items()), ())
        with fits.open_parts(stream) as parts:
            part = fits.select_part(parts, rendering.hdu)
            return Header(tuple(_all_cards(parts, part)), _sky(part) if with_sky else ())


def _all_cards(parts: Any, part: Any) -> list[Card]:
    number = parts.index_of(part)
    cards = _cards(number, part.header)
    if number:
        cards += _cards(0, parts[0].header)
    return cards[:_MOST_CARDS]


def _cards(number: int, header: Any) -> list[Card]:
    cards = []
    for card in header.cards:
        try:
            name, value, comment = str(card.keyword), _text(card.value), str(card.comment)
        except Exception as error:  # noqa: BLE001 - a damaged card raises anything; the others are still read
            name, value, comment = "", "", f"This card can't be read: {error}"
        if name or value or comment:
            cards.append(Card(number, name, value[:_LONGEST], comment[:_LONGEST]))
    return cards


def _text(value: object) -> str:
    from astropy.io.fits.card import Undefined

    if isinstance(value, Undefined):
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(value).strip()


def _sky(part: Any) -> tuple[tuple[str, str], ...]:
    """Return position and scale at the center of the image; empty without a usable WCS."""
    try:
        return _measured(part)
    except Exception:  # noqa: BLE001 - an invalid WCS raises anything; then there is no position
        return ()


def _measured(part: Any) -> tuple[tuple[str, str], ...]:
    from astropy import units
    from astropy.coordinates import Angle
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    with without_warnings():
        world = WCS(part.header).celestial
        if not world.has_celestial:
            return ()
        height, width = part.shape[-2:]
        sky = world.pixel_to_world_values((width - 1) / 2, (height - 1) / 2)
        position = [float(value) for value in sky]
        if world.wcs.lng == 1:
            position.reverse()
        if not np.isfinite(position).all():
            return ()
        kind = world.wcs.lngtyp.strip()
        longitude, latitude = (Angle(value, unit=units.deg) for value in position)
        scale = float(np.sqrt(np.prod(proj_plane_pixel_scales(world)))) * 3600
    names = _NAMES.get(kind, (kind or "Longitude", world.wcs.lattyp.strip() or "Latitude"))
    if kind == "RA":
        hours = longitude.wrap_at(360 * units.deg).to_string(unit=units.hour, precision=2)
        texts = str(hours), str(latitude.to_string(precision=1))
    elif kind == "HPLN":
        texts = f"{longitude.wrap_at(180 * units.deg).arcsec:.1f}″", f"{latitude.arcsec:.1f}″"
    else:
        texts = f"{longitude.deg:.5f}°", f"{latitude.deg:.5f}°"
    scale_text = f"{scale:.3g}″ a pixel" if scale < 3600 else f"{scale / 3600:.3g}° a pixel"
    return ((names[0], texts[0]), (names[1], texts[1]), ("Scale", scale_text))
