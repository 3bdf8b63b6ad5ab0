"""Walk a folder of images recursively, in a fixed order, without following cycles or leaving the folder."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labeling.images import dicom
from labeling.images.containers import CONTAINERS, container_problem
from labeling.images.natural_order import natural_key

# The table of contents of a DICOM disk.
_DIRECTORY = "DICOMDIR"
# Folders that operating systems and storage servers create.
_SKIPPED_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to read, or a path with a ``problem``. ``path`` is relative to the root, with forward slashes."""

    path: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Folder:
    """Hold the content of a folder: sorted names of files and links, and subfolders in reverse order.

    ``containers``: files that hold images within themselves.
    """

    names: list[str]
    links: set[str]
    folders: list[str]
    containers: set[str]


def walk(root: Path, extensions: Sequence[str], *, skip: Path | None = None) -> Iterator[FoundFile]:
    """Yield every file under ``root`` whose name ends in one of ``extensions``, ignoring case.

    The files of a folder come first, in natural order (frame2 before frame10), followed by its subfolders in the same
    order. Only the names of one folder at a time are in memory. If ``extensions`` include DICOM, the first bytes of
    files without an extension are read, since many DICOM files have none. Names that begin with a dot and the folder
    ``skip`` are ignored.

    Links to files inside the root are followed. Links to folders inside the root are not, because their files are found
    under their real paths. Links that lead outside the root, or to a folder that contains them, are problems. Raises
    OSError if the root itself cannot be listed. Other folders that cannot be listed are problems.
    """
    endings = tuple(extension.lower() for extension in extensions)
    top = Path(os.path.realpath(root))
    for prefix, folder in _folders(top, endings, skip):
        if isinstance(folder, FoundFile):
            yield folder
            continue
        for name in folder.names:
            problem = container_problem(name) if name in folder.containers else ""
            file = _follow(top, prefix + name, endings) if name in folder.links else FoundFile(prefix + name, problem)
            if file is not None:
                yield file


def _folders(top: Path, endings: tuple[str, ...], skip: Path | None) -> Iterator[tuple[str, _Folder | FoundFile]]:
    """Yield every folder once, parents first, with the prefix of its files' paths; or the problem with it."""
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
            # A junction or bind mount, which can form a cycle without being a symbolic link.
            if identity in seen:
                continue
            seen.add(identity)
            folder = _list(top / below, endings)
        except OSError as error:
            yield (
                below,
                FoundFile(below, f"The folder cannot be opened ({_description(error)}). Its images are skipped."),
            )
            continue
        yield f"{below}/", folder
        waiting.append((f"{below}/", folder.folders))


def count(root: Path, extensions: Sequence[str], stop: threading.Event, *, skip: Path | None = None) -> int:
    """Return the number of files that :func:`walk` yields, without links; the count so far once ``stop`` is set."""
    number = 0
    endings = tuple(extension.lower() for extension in extensions)
    for _, folder in _folders(Path(os.path.realpath(root)), endings, skip):
        number += 1 if isinstance(folder, FoundFile) else len(folder.names) - len(folder.links)
        if stop.is_set():
            break
    return number


def _list(folder: Path, endings: tuple[str, ...]) -> _Folder:
    names: list[str] = []
    links: set[str] = set()
    folders: list[str] = []
    containers: set[str] = set()
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
                may_lack_extension(name, endings) and _is_bare_dicom(entry.path) and entry.is_file()
            ):
                names.append(name)
            elif name.lower().endswith(CONTAINERS):
                names.append(name)
                containers.add(name)
    names.sort(key=natural_key)
    folders.sort(key=natural_key, reverse=True)
    return _Folder(names, links, folders, containers)


def may_be_image(path: str, endings: tuple[str, ...]) -> bool:
    """Return whether :func:`walk` reads this path: because of its extension, or as DICOM without an extension."""
    return path.lower().endswith(endings) or may_lack_extension(path.rsplit("/", 1)[-1], endings)


def may_lack_extension(name: str, endings: tuple[str, ...]) -> bool:
    """Return whether a file without an extension, or with one of digits as in UIDs, may be DICOM and is wanted."""
    if dicom.EXTENSIONS[0] not in endings or name == _DIRECTORY:
        return False
    ending = name.rpartition(".")[2] if "." in name else ""
    return not ending or ending.isdecimal()


def _is_bare_dicom(path: str) -> bool:
    """Return whether the first bytes of a file are those of DICOM."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - faster, for a million files
            return dicom.begins_like_dicom(stream.read(dicom.BEGINNING))
    except OSError:  # unreadable files without an extension are not reported
        return False


def _follow(top: Path, path: str, endings: tuple[str, ...]) -> FoundFile | None:
    """Return the file or problem that a link leads to; None if its target is found under its real path."""
    link = top / path
    is_image = path.lower().endswith(endings)
    try:
        target = Path(os.path.realpath(link, strict=True))
    except OSError as error:
        if error.errno == errno.ELOOP:
            return FoundFile(path, "This link is part of a cycle. Remove it.")
        return FoundFile(path, f"The target of this link does not exist ({_description(error)}).") if is_image else None
    is_folder = target.is_dir()
    if not is_folder and not is_image:
        return None
    if not target.is_relative_to(top):
        return FoundFile(path, "This link leads outside the folder. Only files inside the folder are read.")
    if not is_folder:
        return FoundFile(path)
    if link.parent.is_relative_to(target):
        return FoundFile(path, "This link leads to a folder that contains it, so it is not followed.")
    return None


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _description(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
