"""Walk a folder of images: recursive, in a fixed order, never in circles, never out of the folder."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labeling.images import dicom
from labeling.images.natural_order import natural_key

# Notes that systems leave beside people's files.
# The table of contents of a DICOM disk.
_DIRECTORY = "DICOMDIR"
_SKIPPED_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read, or a ``problem`` in words. ``path`` is relative to the root, with forward slashes."""

    path: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Folder:
    """What lies in a folder: names of files and links in order, and folders still to be looked into, last first."""

    names: list[str]
    links: set[str]
    folders: list[str]


def walk(root: Path, extensions: Sequence[str], *, skip: Path | None = None) -> Iterator[Found]:
    """Find every file under ``root`` whose name ends in one of ``extensions`` (in any case).

    The files of a folder come first, in natural order of their names (frame2 before frame10), then its folders, in
    the same order; the names of one folder at a time are in memory. Files without an ending are opened for their first
    bytes where DICOM is among ``extensions``, since many have none. Names that begin with a dot are passed over, and so
    is the folder ``skip``. A link to a file is followed where it stays inside of the root. A link to a folder is not:
    what lies inside of the root is found under its own name; one that leads outside or back to a folder above it is a
    problem.

    Raises
    ------
    OSError
        When the root itself cannot be listed; any other folder that cannot is a problem.
    """
    endings = tuple(extension.lower() for extension in extensions)
    top = Path(os.path.realpath(root))
    for prefix, folder in _folders(top, endings, skip):
        if isinstance(folder, Found):
            yield folder
            continue
        for name in folder.names:
            found = _follow(top, prefix + name, endings) if name in folder.links else Found(prefix + name)
            if found is not None:
                yield found


def _folders(top: Path, endings: tuple[str, ...], skip: Path | None) -> Iterator[tuple[str, _Folder | Found]]:
    """Every folder once, each before those in it, behind what its files' paths begin with; or what is wrong with it."""
    seen = {_identity(top)}
    if skip is not None and skip.exists():
        seen.add(_identity(skip))
    folder = _list(top, endings)
    yield "", folder
    waiting = [("", folder.folders)]
    while waiting:
        prefix, left = waiting[-1]
        if not left:
            waiting.pop()
            continue
        below = prefix + left.pop()
        try:
            identity = _identity(top / below)
            # Seen: a junction or a bound folder, which leads in circles and is no link by name.
            if identity in seen:
                continue
            seen.add(identity)
            folder = _list(top / below, endings)
        except OSError as error:
            yield below, Found(below, f"The folder cannot be opened, so its images are left out ({_words(error)}).")
            continue
        yield f"{below}/", folder
        waiting.append((f"{below}/", folder.folders))


def count(root: Path, extensions: Sequence[str], stop: threading.Event, *, skip: Path | None = None) -> int:
    """How many files :func:`walk` will find, links apart; what was counted so far once ``stop`` is set."""
    number = 0
    endings = tuple(extension.lower() for extension in extensions)
    for _, folder in _folders(Path(os.path.realpath(root)), endings, skip):
        number += 1 if isinstance(folder, Found) else len(folder.names) - len(folder.links)
        if stop.is_set():
            break
    return number


def _list(folder: Path, endings: tuple[str, ...]) -> _Folder:
    names: list[str] = []
    links: set[str] = set()
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if entry.is_symlink():
                links.add(name)
                names.append(name)
            elif entry.is_dir(follow_symlinks=False):
                if name not in _SKIPPED_FOLDERS:
                    folders.append(name)
            elif name.lower().endswith(endings) or (
                may_be_bare(name, endings) and _is_bare_dicom(entry.path) and entry.is_file()
            ):
                names.append(name)
    names.sort(key=natural_key)
    folders.sort(key=natural_key, reverse=True)
    return _Folder(names, links, folders)


def is_looked_for(path: str, endings: tuple[str, ...]) -> bool:
    """Return whether :func:`walk` finds an image at this path: by its ending, or as one of DICOM without any."""
    return path.lower().endswith(endings) or may_be_bare(path.rsplit("/", 1)[-1], endings)


def may_be_bare(name: str, endings: tuple[str, ...]) -> bool:
    """Return whether a name has no ending, or one of digits as UIDs have it, and files of DICOM are looked for."""
    if dicom.EXTENSIONS[0] not in endings or name == _DIRECTORY:
        return False
    ending = name.rpartition(".")[2] if "." in name else ""
    return not ending or ending.isdecimal()


def _is_bare_dicom(path: str) -> bool:
    """Return whether the first bytes are those of DICOM; the file is opened only if its name has no ending."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - a million of them
            return dicom.begins_like_dicom(stream.read(dicom.BEGINNING))
    except OSError:  # a file without an ending that can't be read is no image that is missed
        return False


def _follow(top: Path, path: str, endings: tuple[str, ...]) -> Found | None:
    """What a link gives: a file, a problem, or nothing (what it leads to is found under its own name)."""
    link = top / path
    is_image = path.lower().endswith(endings)
    try:
        target = Path(os.path.realpath(link, strict=True))
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Found(path, "This link leads in a circle.")
        return Found(path, f"This link leads to nothing ({_words(error)}).") if is_image else None
    is_folder = target.is_dir()
    if not is_folder and not is_image:
        return None
    if not target.is_relative_to(top):
        return Found(path, "This link leads out of the folder; only what lies inside of it is read and shown.")
    if not is_folder:
        return Found(path)
    if link.parent.is_relative_to(target):
        return Found(path, "This link leads back to a folder that it lies in, in a circle; it is not followed.")
    return None


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
