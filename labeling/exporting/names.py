"""Make names of files and folders that every file system and every library for training accepts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

# What is no part of a name in Windows, and %, which marks an escaped character.
_FORBIDDEN = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f]|^\.|^ |[. ]$')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
# datasets takes a folder of this name, or with it as a word, for a split, wherever it is.
_SPLIT_WORD = re.compile(
    r"(?:(?<=[-._ 0-9])|^)(train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?|eval(?:uation)?)(?=[-._ 0-9]|$)",
    re.IGNORECASE,
)
_UNSAFE = re.compile(r"[^\w-]+")
_PACKED = (".gz", ".fz", ".bz2")
# Characters of a path that stay in a file name: the last ones, which differ most.
_STEM = 80


def folder_names(names: Iterable[str]) -> dict[str, str]:
    """Return a folder name for each class name. ``urllib.parse.unquote`` returns the class name.

    Characters that a folder name can't have are written as ``%`` and their bytes in UTF-8 as hexadecimal digits. So is
    the first letter of names of devices in Windows, of words that datasets takes for a split, and of a name that
    differs from an earlier one only by case or by the form of its accents.
    """
    folders: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        folder = _SPLIT_WORD.sub(lambda found: _first_quoted(found[0]), _FORBIDDEN.sub(_quoted, name))
        if _DEVICE.fullmatch(folder):
            folder = _first_quoted(folder)
        # Each round escapes one letter more, and no other name has the same escapes.
        place = 0
        while _compared(folder) in used:
            folder = "".join(map(_percent, name[: place + 1])) + _FORBIDDEN.sub(_quoted, name[place + 1 :])
            place += 1
        used.add(_compared(folder))
        folders[name] = folder
    return folders


def _compared(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _quoted(found: re.Match[str]) -> str:
    return _percent(found[0])


def _first_quoted(name: str) -> str:
    return _percent(name[0]) + name[1:]


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def flat_name(item_id: int, path: str) -> str:
    """Return a file name without folders: the item's ID, which makes it unique, its path, and its ending.

    The only dots are those of the ending, because WebDataset ends a name at its first dot.
    """
    stem, ending = stem_and_ending(path)
    return f"{item_id}_{_UNSAFE.sub('_', stem)[-_STEM:]}{ending}"


def stem_and_ending(path: str) -> tuple[str, str]:
    """Return a path without its ending, and the ending: both of ``.fits.gz``."""
    suffixes = PurePosixPath(path).suffixes
    n_endings = 2 if len(suffixes) > 1 and suffixes[-1].lower() in _PACKED else 1
    ending = "".join(suffixes[-n_endings:])
    if re.search(r"[^\w.-]", ending):
        return path, ""
    return path[: len(path) - len(ending)], ending
