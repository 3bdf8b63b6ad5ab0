"""Measure the size of a folder that others may be changing, and the free space around it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FolderSize:
    """Hold the bytes and the number of the files in a folder; ``is_partial`` if counting stopped before the end."""

    n_bytes: int = 0
    n_files: int = 0
    is_partial: bool = False


def folder_size(folder: Path, *, until: float = float("inf")) -> FolderSize:
    """Return the size of a folder, 0 if there is none; counting stops at ``until`` (of ``time.monotonic``)."""
    n_bytes = n_files = 0
    for entry in _files(folder):
        n_bytes += size_of(entry)
        n_files += 1
        if n_files % 1000 == 0 and time.monotonic() > until:
            return FolderSize(n_bytes, n_files, is_partial=True)
    return FolderSize(n_bytes, n_files)


def size_of(entry: os.DirEntry[str]) -> int:
    """Return the size of a file, 0 if it was removed in the meantime."""
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
                else:
                    yield entry
    except FileNotFoundError:  # removed while it was being read
        return


def free_bytes(folder: Path) -> int:
    """Return the free space where a folder is, or will be: the store's folder may not exist before the first job."""
    place = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(place).free
