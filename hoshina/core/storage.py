"""Write files of the store whole or not at all, read arrays as memory maps, and remove files that nobody uses."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar
from uuid import uuid4
from zipfile import BadZipFile

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import DTypeLike, NDArray

from hoshina.core.errors import Refusal

log = logging.getLogger(__name__)

T = TypeVar("T")
Shape = tuple[int | None, ...]

_BLOCK_BYTES = 32 * 2**20
_ABANDONED_SECONDS = 24 * 3600
_maps: LRUCache[Any, Any] = LRUCache(16)
_maps_lock = threading.Lock()


class StoreError(Refusal):
    """A file of the store cannot be read or written."""


# -- Reading ---------------------------------------------------------------------------------------
def map_array(file: Path, hint: str, dtype: DTypeLike | None = None, row_shape: Shape = ()) -> Any:
    """Map an array file read-only; the maps opened last are cached.

    Parameters
    ----------
    hint : what a person can do if the file is damaged.
    dtype, row_shape : of a row; None allows any length. Not checked without ``dtype``.

    Raises FileNotFoundError, and StoreError if the file is damaged, cut short, or holds rows of another kind.
    """
    status = file.stat()
    try:
        # Names are never reused, but a store may be emptied and filled again under a running process.
        array = _map(str(file), status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError) as error:
        raise StoreError(f"{file} is damaged or cut short ({error}).", hint) from error
    if dtype is not None and not _has_rows(array, np.dtype(dtype), row_shape):
        columns = " × ".join("any" if length is None else str(length) for length in row_shape) or "no"
        wanted = f"{np.dtype(dtype)} with {columns} columns"
        raise StoreError(f"{file} holds {array.dtype} {array.shape}, not {wanted}.", hint)
    return array


@cached(_maps, lock=_maps_lock)
def _map(file: str, mtime_ns: int, n_bytes: int) -> Any:
    # An array without elements cannot be mapped.
    array = np.load(file, mmap_mode="r" if n_bytes > 128 else None, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("it is an archive of arrays")
    return array


def _has_rows(array: Any, dtype: np.dtype[Any], row_shape: Shape) -> bool:
    if array.dtype != dtype or array.ndim != 1 + len(row_shape):
        return False
    return all(wanted in (None, length) for wanted, length in zip(row_shape, array.shape[1:], strict=True))


def find_array(file: Path, hint: str, dtype: DTypeLike | None = None, row_shape: Shape = ()) -> Any | None:
    """Map a file as `map_array` does; return None if there is no such file."""
    try:
        return map_array(file, hint, dtype, row_shape)
    except FileNotFoundError:
        return None


def find_arrays(file: Path, hint: str, *names: str) -> dict[str, Any] | None:
    """Read the arrays of an ``.npz`` file, all or those of ``names``; None without such a file. Raises StoreError."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in names or archive.files}
    except FileNotFoundError:
        return None
    except (ValueError, EOFError, OSError, KeyError, AttributeError, TypeError, BadZipFile, zlib.error) as error:
        raise StoreError(f"{file} is damaged ({error}).", hint) from error


class PageReleaser:
    """Release the memory pages of a mapped array's rows in one pass from its first row to its last.

    The pages stay in the system's cache while there is room, but no longer count as memory of this process, which may
    be limited. Does nothing if the array is not mapped or the system does not support it.
    """

    def __init__(self, X: Any) -> None:
        mapped = None if X.flags.writeable else getattr(X, "_mmap", None)
        self._mapped = mapped if hasattr(mmap, "MADV_DONTNEED") else None
        self._row_bytes = X.strides[0]
        self._n_released = 0

    def release(self, n_rows: int) -> None:
        """Release the first ``n_rows``, which are not needed again."""
        # The file's header precedes the rows, so the last pages are released a little later.
        end = n_rows * self._row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        if self._mapped is not None and end > self._n_released:
            self._mapped.madvise(mmap.MADV_DONTNEED, self._n_released, end - self._n_released)
            self._n_released = end


def forget(file: Path) -> None:
    """Drop this process's cached maps of a file or of a folder's files: Windows cannot remove a mapped file."""
    prefix = str(file)
    with _maps_lock:
        for key in [key for key in _maps if key[0] == prefix or key[0].startswith(prefix + os.sep)]:
            del _maps[key]


# -- Writing --------------------------------------------------------------------------------------
@contextlib.contextmanager
def replacing(target: Path, *, is_durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a stream whose bytes replace ``target`` atomically, and only if the block succeeds.

    Without ``is_durable`` it does not wait for the disk, so a power failure may leave an empty file. Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.{uuid4().hex[:12]}.tmp")
    try:
        with draft.open("xb") as stream:
            yield stream
            stream.flush()
            if is_durable:
                os.fsync(stream.fileno())
        put_in_place(draft, target)
    finally:
        remove(draft)


@contextlib.contextmanager
def writing(target: Path) -> Iterator[BinaryIO]:
    """Yield a stream as `replacing` does. Raises StoreError if the file cannot be written."""
    try:
        with replacing(target) as stream:
            yield stream
    except OSError as error:
        raise StoreError(f"{target} could not be written ({error}).", "Is the disk full?") from error


def write_array(target: Path, array: NDArray[Any]) -> None:
    """Write an ``.npy`` file atomically. Raises StoreError."""
    with writing(target) as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def write_arrays(target: Path, **arrays: Any) -> None:
    """Write an ``.npz`` file atomically. Raises StoreError."""
    with writing(target) as stream:
        np.savez(stream, **arrays)


def put_in_place(draft: Path, target: Path) -> None:
    """Rename a finished file to its final name."""
    forget(target)
    try:
        draft.replace(target)
    except PermissionError:
        # Windows, while the writer still maps the draft: copy its bytes instead.
        copy = draft.with_suffix(".copy.tmp")
        shutil.copyfile(draft, copy)
        copy.replace(target)


def write_header(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Write the header of an ``.npy`` file, whose rows follow."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def block_lengths(n_rows: int, row_bytes: int) -> Iterator[int]:
    """Yield the lengths of blocks of some megabytes that make up ``n_rows``."""
    step = max(1, _BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, n_rows, step):
        yield min(step, n_rows - start)


def require_space(folder: Path, wanted: int) -> None:
    """Raise StoreError where the disk of ``folder`` has less than ``wanted`` bytes left."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise StoreError(
            f"The disk of {folder} has {free / 1e9:.2f} GB left; {wanted / 1e9:.2f} GB are needed.",
            "Free some space, or set AL_STORE_DIR to a folder on a larger disk.",
        )


# -- Removing -------------------------------------------------------------------------------------
def remove(file: Path) -> None:
    """Remove a file if it exists, unless Windows has it in use."""
    forget(file)
    try:
        file.unlink(missing_ok=True)
    except PermissionError:  # Windows: a process has it mapped; the next removal tries again
        log.info("%s is in use and will be removed later.", file)


def remove_folder(folder: Path) -> None:
    """Remove a folder; what is mapped on Windows stays until next time."""
    forget(folder)
    for file in [*folder.rglob("*.np[yz]"), *folder.rglob("*.tmp")]:
        remove(file)
    shutil.rmtree(folder, ignore_errors=True)


# -- Generations ----------------------------------------------------------------------------------
class HasGeneration(Protocol):
    """A database row that says which generation of its files is current, 0 for none."""

    generation: int

    def refresh_from_db(self, *, fields: list[str]) -> None: ...


@dataclass(frozen=True)
class Generations:
    """The array files of a database row, ``<folder>/<name>-<generation>.npy``, never changed once written.

    New content makes a new generation, because Windows cannot replace a mapped file. The row names the current
    generation and is saved after the files, so that a process may be killed at any moment.

    Attributes
    ----------
    folder : holds the files of one row, and no other files with such names.
    hint : what a person can do if a file is damaged.
    """

    folder: Path
    hint: str

    def file(self, name: str, generation: int, suffix: str = "npy") -> Path:
        """Return the path of a file; ``name`` has no hyphen."""
        return self.folder / f"{name}-{generation}.{suffix}"

    def open(self, name: str, generation: int, dtype: DTypeLike | None = None, row_shape: Shape = ()) -> Any:
        """Map an array as `map_array` does."""
        return map_array(self.file(name, generation), self.hint, dtype, row_shape)

    def find(self, name: str, generation: int, dtype: DTypeLike | None = None, row_shape: Shape = ()) -> Any | None:
        """Map an array as `find_array` does."""
        return find_array(self.file(name, generation), self.hint, dtype, row_shape)

    def write(self, name: str, generation: int, array: NDArray[Any]) -> None:
        """Write an array. Raises StoreError."""
        write_array(self.file(name, generation), array)

    def read_current(self, row: HasGeneration, read: Callable[[], T], *fields: str) -> T:
        """Return the result of ``read`` for the files of ``row.generation``.

        If they are missing, a newer generation has replaced them since the row was loaded: reload its generation and
        ``fields``, and read those files. Raises StoreError if a file is missing or damaged.
        """
        try:
            return read()
        except FileNotFoundError:
            row.refresh_from_db(fields=["generation", *fields])
        try:
            return read()
        except FileNotFoundError as error:
            raise StoreError(f"The file {error.filename} is missing.", self.hint) from error

    def array_of(self, name: str, generation: int, make: Callable[[], NDArray[Any]]) -> Any:
        """Return an array, mapped. If it is missing or damaged, compute and write it first."""
        file = self.file(name, generation)
        if (found := self._sound(lambda: self.find(name, generation))) is None:
            write_array(file, make())
            self.remove_before(generation, name)
            found = self.open(name, generation)
        return found

    def arrays_of(self, name: str, generation: int, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, Any]:
        """Return the arrays of an ``.npz`` file. If it is missing or damaged, compute and write them first."""
        file = self.file(name, generation, "npz")
        if (found := self._sound(lambda: find_arrays(file, self.hint))) is None:
            write_arrays(file, **(found := make()))
            self.remove_before(generation, name)
        return found

    def _sound(self, find: Callable[[], T | None]) -> T | None:
        try:
            return find()
        except StoreError as error:
            log.warning("%s It is computed again.", error.message)
            return None

    def next_after(self, current: int) -> int:
        """Return an unused number, so that a run that was presumed dead cannot write into the files of another."""
        return max([current, *map(_generation_of, self._files())]) + 1

    def remove(self, generation: int) -> None:
        """Remove the files of one generation."""
        for file in self._files():
            if _generation_of(file) == generation:
                remove(file)

    def remove_before(self, generation: int, name: str = "*") -> None:
        """Remove the files of earlier generations, and old drafts of killed processes."""
        for file in self._files(name):
            if _generation_of(file) < generation:
                remove(file)
        for file in self.folder.rglob("*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > _ABANDONED_SECONDS:
                    remove(file)

    def _files(self, name: str = "*") -> list[Path]:
        return list(self.folder.glob(f"{name}-*.np[yz]"))


def _generation_of(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])
