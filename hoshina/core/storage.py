"""Array files: written whole or not at all, read as memory maps, removed when nobody holds them."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

log = logging.getLogger(__name__)

_BLOCK_BYTES = 32 * 2**20
_MAPS_KEPT = 16


class StoreError(Exception):
    """An array cannot be read or written; ``hint`` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


# -- Reading ---------------------------------------------------------------------------------------
_maps: OrderedDict[tuple[str, int, int], Any] = OrderedDict()
_maps_lock = threading.Lock()


def map_array(file: Path, hint: str) -> Any:
    """A read-only map of a file, kept for the next caller. Raises FileNotFoundError or StoreError."""
    status = file.stat()
    # Names are never reused, but a store may be emptied and filled again under a running process.
    key = (str(file), status.st_mtime_ns, status.st_size)
    with _maps_lock:
        if key in _maps:
            _maps.move_to_end(key)
            return _maps[key]
    try:
        # An array without elements cannot be mapped.
        mapped = np.load(file, mmap_mode="r" if status.st_size > 128 else None, allow_pickle=False)
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError) as error:
        raise StoreError(f"{file} is damaged or cut short ({error}).", hint) from error
    with _maps_lock:
        _maps[key] = mapped
        while len(_maps) > _MAPS_KEPT:
            _maps.popitem(last=False)
    return mapped


class Passing:
    """Gives the memory of a mapped array's rows back to the system as they are done with, in a single way through it.

    Their pages stay in the system's memory for whoever comes next, while there is room; they no longer count as this
    process's own, which may be under a limit. Nothing happens where the array isn't mapped, or the system can't do it.
    """

    def __init__(self, X: Any) -> None:
        mapped = None if X.flags.writeable else getattr(X, "_mmap", None)
        self._mapped = mapped if hasattr(mmap, "MADV_DONTNEED") else None
        self._row_bytes = X.strides[0]
        self._given_back = 0

    def done(self, n_rows: int) -> None:
        """The first ``n_rows`` aren't needed again."""
        # The file's header is mapped before the rows; ending there, the last pages stay a little longer.
        end = n_rows * self._row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        if self._mapped is not None and end > self._given_back:
            self._mapped.madvise(mmap.MADV_DONTNEED, self._given_back, end - self._given_back)
            self._given_back = end


def forget(file: Path) -> None:
    """Drop this process's kept maps of a file or of a folder's files: Windows removes no mapped file."""
    prefix = str(file)
    with _maps_lock:
        for key in [key for key in _maps if key[0] == prefix or key[0].startswith(prefix + os.sep)]:
            del _maps[key]


# -- Writing --------------------------------------------------------------------------------------
@contextlib.contextmanager
def writing(target: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes appear under ``target`` all at once, and only when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        put_in_place(Path(name), target)
    except OSError as error:
        raise StoreError(f"{target} could not be written ({error}).", "Is the disk full?") from error
    finally:
        remove(Path(name))


def put_in_place(draft: Path, target: Path) -> None:
    forget(target)
    draft.chmod(0o644)  # mkstemp's files are their maker's alone; workers may run as other users
    try:
        draft.replace(target)
    except PermissionError:
        # Windows, while the writer still holds a map of the draft: its bytes are all that is wanted.
        copy = draft.with_suffix(".copy.tmp")
        shutil.copyfile(draft, copy)
        copy.replace(target)


def write_header(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def block_lengths(n_rows: int, row_bytes: int) -> Iterator[int]:
    step = max(1, _BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, n_rows, step):
        yield min(step, n_rows - start)


def require_space(folder: Path, wanted: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise StoreError(
            f"The disk of {folder} has {free / 1e9:.2f} GB left; {wanted / 1e9:.2f} GB are needed.",
            "Make room, or set AL_STORE_DIR to a larger disk.",
        )


# -- Removing -------------------------------------------------------------------------------------
def remove(file: Path) -> None:
    forget(file)
    try:
        file.unlink(missing_ok=True)
    except PermissionError:  # Windows: somebody has it mapped; the next merge tries again
        log.info("%s is in use and stays for now.", file)


def remove_folder(folder: Path) -> None:
    forget(folder)
    for file in [*folder.rglob("*.npy"), *folder.rglob("*.tmp")]:
        remove(file)
    shutil.rmtree(folder, ignore_errors=True)
