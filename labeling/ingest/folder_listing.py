"""List folders on this machine, with how many images are in them, so that a person can choose one."""

from __future__ import annotations

import os
import string
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from django.conf import settings

from hoshina.core.errors import Refusal
from labeling.images.natural_order import natural_key
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.ingest.dataset_folder import folder_problem, is_allowed
from labeling.models import Dataset

# Limits, so that a folder of a million files or a slow network share answers as well.
_MOST_ENTRIES = 10_000
_MOST_FOLDERS = 500
_MOST_NAMES = 200
_SECONDS = 1.0
_RECENT = 5
SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True)
class Content:
    """Count what is directly in a folder, and name its first image; ``is_partial`` if there is more."""

    n_images: int = 0
    first: Path | None = None
    n_folders: int = 0
    is_partial: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Choice:
    """Name a folder to open, and what is in it."""

    folder: Path
    name: str
    content: Content = Content()


@dataclass(frozen=True)
class Listing:
    """List a folder's subfolders, and those that contain it from the outermost on; ``n_more`` are not listed.

    ``classes``: names of subfolders that look like classes.
    """

    here: Choice
    above: list[Choice]
    folders: list[Choice]
    n_more: int
    classes: list[str]

    @property
    def may_open(self) -> bool:
        """Return whether the folder can become a dataset: any but a whole disk."""
        return self.here.folder.parent != self.here.folder


def starting_points() -> list[Choice]:
    """Return the folders to begin at: those of AL_ROOTS, else the home folder, its usual places, and disks."""
    if settings.ROOTS:
        return [Choice(root, str(root)) for root in settings.ROOTS]
    return [Choice(folder, name) for folder, name in [*_places(), *_disks()] if _is_folder(folder)]


def _places() -> Iterator[tuple[Path, str]]:
    try:
        home = Path.home()
    except RuntimeError:  # a container's user without a home folder
        return
    yield home, "Home"
    yield from ((home / name, name) for name in ("Pictures", "Desktop", "Documents", "Downloads"))


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises PermissionError


def _disks() -> Iterator[tuple[Path, str]]:
    if sys.platform == "win32":
        yield from ((Path(f"{letter}:\\"), f"{letter}:") for letter in string.ascii_uppercase)
        return
    yield Path("/"), "/"
    for parent in (Path("/media") / os.environ.get("USER", ""), Path("/Volumes")):
        with suppress(OSError):
            yield from ((disk, disk.name) for disk in sorted(parent.iterdir()) if _is_folder(disk))


def recent_folders() -> list[Choice]:
    """Return the folders that hold those of the newest datasets, newest first."""
    roots = Dataset.objects.present().order_by("-pk").values_list("root", flat=True)[: 4 * _RECENT]
    store = Path(os.path.realpath(settings.STORE_DIR))
    parents = dict.fromkeys((store / root).parent for root in roots)
    found = [folder for folder in parents if not folder.is_relative_to(store) and is_allowed(folder)]
    return [Choice(folder, str(folder)) for folder in found[:_RECENT] if _is_folder(folder)]


def list_folder(folder: Path, find: str = "") -> Listing:
    """Return the subfolders whose names contain ``find`` in natural order, with their content. Raises Refusal."""
    if not folder.is_absolute():
        raise Refusal(f"{folder} is not a full path.", "Enter a path that starts at the root of the disk.")
    if problem := folder_problem(folder):
        raise Refusal(problem)
    until = time.monotonic() + _SECONDS
    found = (path for path in _subfolders(folder) if find.lower() in path.name.lower())
    allowed = (path for path in found if is_allowed(path))  # links may lead elsewhere
    inside = sorted(allowed, key=lambda path: natural_key(path.name))
    choices = [Choice(path, path.name, content_of(path, until)) for path in inside[:_MOST_FOLDERS]]
    above = [Choice(parent, parent.name or str(parent)) for parent in reversed(folder.parents) if is_allowed(parent)]
    here = Choice(folder, folder.name or str(folder), content_of(folder, until + _SECONDS))
    return Listing(here, above, choices, len(inside) - len(choices), names_of_folders(folder))


def _subfolders(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if not entry.name.startswith(".") and entry.name.isprintable() and entry.is_dir():
                    yield Path(entry.path)


def names_of_folders(folder: Path) -> list[str]:
    """Return the names of the subfolders, as suggestions for classes; [] if there is one, or far too many.

    Below folders that split the images, such as ``train``, the names of the next level are returned.
    """
    try:
        inside = list(islice(_subfolders(folder), _MOST_NAMES + 1))
        splits = [path for path in inside if path.name.lower() in SPLIT_NAMES]
        if splits and len(splits) == len(inside):
            inside = [path for split in splits for path in islice(_subfolders(split), _MOST_NAMES + 1)]
    except OSError:  # the problems page says so
        return []
    names = sorted({path.name for path in inside}, key=natural_key)
    return names if 1 < len(names) <= _MOST_NAMES else []


def content_of(folder: Path, until: float = float("inf")) -> Content:
    """Count what is directly in a folder, until a number of entries or a time (``time.monotonic``) is reached."""
    n_images = n_folders = 0
    first: str | None = None
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_ENTRIES or time.monotonic() > until:
                    return Content(n_images, Path(first) if first else None, n_folders, is_partial=True)
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(DEFAULT_EXTENSIONS):
                    n_images += 1
                    first = min(first or entry.path, entry.path)
                else:
                    with suppress(OSError):  # a link that leads to itself
                        n_folders += entry.is_dir()
    except OSError as error:
        return Content(problem=error.strerror or str(error))
    return Content(n_images, Path(first) if first else None, n_folders)
