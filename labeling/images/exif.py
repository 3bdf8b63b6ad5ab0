"""Read EXIF metadata of cameras and telescopes: time, place and equipment."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

from PIL import ExifTags, Image

from labeling.images import open_image, tiff
from labeling.images.library_warnings import without_warnings
from labeling.images.source_file import PNG_START, png_chunks

# Supported EXIF names and their meanings.
COMMENTS = {
    "DateTimeOriginal": "when the picture was taken, with time zone if known",
    "GPSDateTime": "when the position was measured, UTC",
    "GPSLatitude": "decimal degrees, south negative",
    "GPSLongitude": "decimal degrees, west negative",
    "GPSAltitude": "meters above sea level",
    "Make": "camera manufacturer",
    "Model": "camera model",
    "BodySerialNumber": "camera serial number",
    "LensModel": "lens",
    "ExposureTime": "seconds",
    "FNumber": "aperture",
    "ISO": "sensitivity",
    "FocalLength": "millimeters",
    "DateTime": "when the file was last changed by the camera or a program",
}
# Names stay text even if they consist of digits only.
TEXTS = frozenset({"Make", "Model", "BodySerialNumber", "LensModel"})
_BY_LOWER = {name.lower(): name for name in COMMENTS}

_LONGEST = 300
_TIME = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?(\.\d+)?")
_OFFSET = re.compile(r"[+-]\d\d:\d\d|Z")
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_GPS, _TAG = ExifTags.GPS, ExifTags.Base
Tags = Mapping[int, Any]


@dataclass
class _Block:
    """The tags of an EXIF block in its three directories. Unreadable tags are missing."""

    base: Tags = field(default_factory=dict)
    exif: Tags = field(default_factory=dict)
    gps: Tags = field(default_factory=dict)


def name_of(name: str) -> str | None:
    """Return the name as spelled in COMMENTS, ignoring case; None if it is not supported."""
    return _BY_LOWER.get(name.lower())


def facts_in(stream: BinaryIO) -> dict[str, str]:
    """Return the EXIF metadata of an image by the names in COMMENTS, without missing values.

    Reads no pixels. A broken block has no metadata and is otherwise ignored. Raises ImageProblem if Pillow does not
    recognize the file as an image.
    """
    with without_warnings():
        block = _block(stream)
    facts = {
        "DateTimeOriginal": _time(
            block.exif.get(_TAG.DateTimeOriginal),
            block.exif.get(_TAG.SubsecTimeOriginal),
            block.exif.get(_TAG.OffsetTimeOriginal),
        ),
        "GPSDateTime": _gps_time(block.gps),
        "GPSLatitude": _degrees(block.gps.get(_GPS.GPSLatitude), block.gps.get(_GPS.GPSLatitudeRef), "NS", 90),
        "GPSLongitude": _degrees(block.gps.get(_GPS.GPSLongitude), block.gps.get(_GPS.GPSLongitudeRef), "EW", 180),
        "GPSAltitude": _altitude(block.gps),
        "ISO": _number(block.exif.get(_TAG.ISOSpeedRatings)),
        **{name: _text(block.base.get(_TAG[name])) for name in ("Make", "Model")},
        **{name: _text(block.exif.get(_TAG[name])) for name in ("BodySerialNumber", "LensModel")},
        **{name: _number(block.exif.get(_TAG[name])) for name in ("ExposureTime", "FNumber", "FocalLength")},
        "DateTime": _time(
            block.base.get(_TAG.DateTime), block.exif.get(_TAG.SubsecTime), block.exif.get(_TAG.OffsetTime)
        ),
    }
    return {name: facts[name] for name in COMMENTS if facts[name]}


# -- Reading the block ------------------------------------------------------------------------------
def _block(stream: BinaryIO) -> _Block:
    stream.seek(0)
    head = stream.read(16)
    stream.seek(0)
    if tiff.is_tiff(stream):
        return _tags(_from_tiff(stream, head))
    with open_image.open_header(stream) as image:
        try:
            # PngImageFile.getexif decodes all pixels to find chunks behind them.
            exif = Image.Image.getexif(image)
        except Exception:  # noqa: BLE001 - EXIF of damaged files raises anything
            return _Block()
        if head.startswith(PNG_START) and not len(exif):
            # The chunk may follow the pixels.
            blocks = (stream.read(size) for name, size in png_chunks(stream) if name == b"eXIf")
            return _tags(_from_bytes(next(blocks, b"")))
        return _tags(exif)


def _tags(exif: Image.Exif | None) -> _Block:
    if exif is None:
        return _Block()
    return _Block(_directory(exif), _directory(exif, ExifTags.IFD.Exif), _directory(exif, ExifTags.IFD.GPSInfo))


def _directory(exif: Image.Exif, tag: int | None = None) -> Tags:
    """Return one directory of the block, without broken values; empty if the directory is broken."""
    try:
        return dict(exif) if tag is None else exif.get_ifd(tag)
    except Exception:  # noqa: BLE001 - EXIF of damaged files raises anything
        return {}


def _from_bytes(content: bytes) -> Image.Exif | None:
    exif = Image.Exif()
    try:
        exif.load(content)
    except Exception:  # noqa: BLE001 - as above
        return None
    return exif


def _from_tiff(stream: BinaryIO, head: bytes) -> Image.Exif | None:
    """Read the first directory of a TIFF file, even if Pillow does not support its pixels.

    Pillow reads the directories of BigTIFF files only if they are little-endian.
    """
    exif = Image.Exif()
    try:
        exif.endian = "<" if head[:2] == b"II" else ">"
        exif.bigtiff = 43 in head[2:4]
        (offset,) = struct.unpack_from(exif.endian + ("Q" if exif.bigtiff else "L"), head, 8 if exif.bigtiff else 4)
        exif.load_from_fp(stream, offset)
    except Exception:  # noqa: BLE001 - as above
        return None
    return exif


# -- Values as text ---------------------------------------------------------------------------------
def _text(value: object) -> str:
    """Return text without the padding of cameras. Text is read as UTF-8 if valid, since many programs write it."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return ""
    value = value.split("\0", 1)[0]
    with suppress(UnicodeError):
        value = value.encode("latin-1").decode("utf-8")
    return " ".join(_UNREADABLE.sub(" ", value).split())[:_LONGEST]


def _real(value: object) -> float:
    """Return the number in a tag; NaN if there is none, such as for a fraction with denominator zero."""
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    if isinstance(value, bytes):
        value = value[0] if len(value) == 1 else None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _written(number: float, digits: int) -> str:
    """Return the number rounded to ``digits`` decimals; empty for NaN."""
    if math.isnan(number):
        return ""
    rounded = round(number, digits)
    return str(int(rounded)) if rounded.is_integer() else f"{rounded:.{digits}f}".rstrip("0")


def _number(value: object) -> str:
    return _written(_real(value), 8)


def _degrees(value: object, reference: object, signs: str, most: int) -> str:
    """Return degrees, minutes and seconds as signed decimal degrees. ``signs``: the positive and negative hemisphere.

    Empty if the hemisphere is unknown or a part is missing or invalid.
    """
    letter = _text(reference)[:1].upper()
    parts = [_real(part) for part in (value if isinstance(value, tuple | list) else (value,))]
    if not letter or letter not in signs or not 1 <= len(parts) <= 3:
        return ""
    degrees = sum(part / 60**place for place, part in enumerate(parts))
    if not all(part >= 0 for part in parts) or not degrees <= most:
        return ""
    return _written(-degrees if letter == signs[1] and degrees else degrees, 8)


def _altitude(gps: Tags) -> str:
    """Return meters, negative below sea level. References 2 and 3 (EXIF 3.0) are relative to the ellipsoid."""
    meters = _real(gps.get(_GPS.GPSAltitude))
    is_below = _real(gps.get(_GPS.GPSAltitudeRef)) in (1, 3)
    return _written(-meters if is_below and meters else meters, 4)


def _time(value: object, fraction: object = None, offset: object = None) -> str:
    """Return an EXIF time in ISO 8601, with fractions of a second and time zone if they are known."""
    match = _TIME.fullmatch(_text(value))
    if match is None:
        return ""
    year, month, day, hour, minute, second, point = match.groups()
    digits = _text(fraction)
    if point is None and digits.isascii() and digits.isdigit():
        point = f".{digits}"
    zone = _text(offset)
    text = f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}{(point or '')[:7]}"
    try:
        datetime.fromisoformat(text)
    except ValueError:  # zeros for an unknown time, or an impossible date
        return ""
    return text + zone if _OFFSET.fullmatch(zone) else text


def _gps_time(gps: Tags) -> str:
    clock = gps.get(_GPS.GPSTimeStamp)
    if not isinstance(clock, tuple | list) or len(clock) != 3:
        return ""
    hour, minute, second = map(_real, clock)
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return ""
    whole = int(second)
    clock_text = f"{int(hour):02d}:{int(minute):02d}:{whole:02d}"
    date = _text(gps.get(_GPS.GPSDateStamp))
    text = _time(f"{date} {clock_text}", f"{int((second - whole) * 1000):03d}" if second > whole else None)
    return f"{text}Z" if text else ""
