"""Read Stellarium's catalog of deep-sky objects, to label its pictures by the kind of object."""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Iterator
from pathlib import Path

# Classes of the catalog's types: galaxies, globular clusters, planetary nebulae, open clusters, other nebulae.
_CLASS_OF_TYPE = {0: 0, 1: 0, 3: 0, 7: 1, 11: 2, 6: 3, 13: 4, 14: 4, 15: 4, 16: 4, 17: 4, 18: 4, 19: 4}
_NAME = re.compile(r"(n|ic|m)(\d+)")
# What follows the morphological type up to the object's numbers: axes, orientation, redshift, parallax, distance.
_SKIPPED = 2 * 8 + 4 + 6 * 8


def deep_sky_kinds(folder: Path) -> dict[Path, int]:
    """Return the class of each picture in a folder that also holds ``catalog.dat``, without those of unknown kind."""
    types = dict(_types(gzip.decompress((folder / "catalog.dat").read_bytes())))
    kinds = {}
    for file in sorted(folder.glob("*.png")):
        match = _NAME.match(file.stem)
        kind = _CLASS_OF_TYPE.get(types.get((match[1], int(match[2])), -1)) if match else None
        if kind is not None:
            kinds[file] = kind
    return kinds


def _types(catalog: bytes) -> Iterator[tuple[tuple[str, int], int]]:
    """Yield ((catalog, number), type) of each object; the catalogs are n (NGC), ic and m.

    The file is a stream of Qt: big-endian, texts with their length before them. Records have no length, so the next is
    found by its number and plausible coordinates.
    """
    place = _skip_text(catalog, _skip_text(catalog, 0))
    number = 1
    while _is_record(catalog, place, number):
        kind = struct.unpack_from(">I", catalog, place + 36)[0]
        place = _skip_text(catalog, place + 40) + _SKIPPED
        for name, value in zip(("n", "ic", "m"), struct.unpack_from(">III", catalog, place), strict=True):
            if value:
                yield (name, value), kind
        number += 1
        while place < len(catalog) and not _is_record(catalog, place, number):
            place += 2


def _skip_text(catalog: bytes, place: int) -> int:
    length = struct.unpack_from(">I", catalog, place)[0]
    return place + 4 + (0 if length == 0xFFFFFFFF else int(length))


def _is_record(catalog: bytes, place: int, number: int) -> bool:
    if place + 20 > len(catalog):
        return False
    found, right_ascension, declination = struct.unpack_from(">Idd", catalog, place)
    return found == number and 1e-6 < right_ascension <= 6.3 and abs(declination) <= 1.6
