"""The vectors on disk, and the only place that knows how an item's row becomes a line of a file.

Every array has one line per ``Item.row`` of its dataset; what a model version keeps (``modeling.model_files``) has too.
All live under ``settings.STORE_DIR``::

    vectors/<dataset>/<fingerprint>/vectors-<generation>.npy   float32 (n_rows, dim)
    vectors/<dataset>/<fingerprint>/stamps-<generation>.npy    uint64 (n_rows,), 0: this row has no vector
    vectors/<dataset>/<fingerprint>/parts/<start>-<stop>.npy   finished shares of a running job

A file is written under a temporary name, then renamed, and never changed afterwards: new vectors make a new
generation, because Windows cannot replace a file that somebody has mapped. The database row says which
generation counts. A *stamp* is the start of the image's SHA-256: where it differs from the frame's, the
vector is stale.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.utils import timezone

from hoshina.arrays import (
    StoreError,
    block_lengths,
    map_array,
    remove,
    remove_folder,
    require_space,
    write_header,
    writing,
)
from modeling.models import EmbeddingSet

__all__ = [
    "StoreError",
    "Vectors",
    "delete_vectors",
    "has_parts",
    "merge_parts",
    "open_stamps",
    "open_vectors",
    "save_part",
    "stamp_of",
]

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
Stamps = npt.NDArray[np.uint64]

_ABANDONED_SECONDS = 24 * 3600
_REEMBED = "Run `manage.py embed` to compute the vectors again."


@dataclass(frozen=True)
class Vectors:
    """One generation of the vectors of a dataset.

    ``X`` is a read-only memory map, float32 (n_rows, dim); ``has`` is bool (n_rows,), true where the row
    has a vector (all finite; the other lines are zeros). Items that came after it have rows >= n_rows.
    """

    X: npt.NDArray[np.float32]
    has: npt.NDArray[np.bool_]
    generation: int
    fingerprint: str

    @property
    def dim(self) -> int:
        return int(self.X.shape[1])

    def __len__(self) -> int:
        return len(self.X)


# -- Vectors --------------------------------------------------------------------------------------
def stamp_of(sha256: str) -> int:
    """The first 8 bytes of a hexadecimal SHA-256 as a number; never 0, which says "no vector"."""
    return int(sha256[:16], 16) or 1


def open_vectors(embedding_set: EmbeddingSet) -> Vectors | None:
    """The current vectors of a set, or ``None`` while there are none. Costs no copy, whatever the size.

    Raises
    ------
    StoreError : the files are missing, cut short or of another shape than the database says.
    """
    if embedding_set.generation == 0:
        return None
    try:
        return _open_generation(embedding_set)
    except FileNotFoundError:
        # The row was read before a newer generation came and the old files went.
        embedding_set.refresh_from_db(fields=["generation"])
    if embedding_set.generation == 0:
        return None
    try:
        return _open_generation(embedding_set)
    except FileNotFoundError as error:
        raise StoreError(f"The file of vectors {error.filename} is missing.", _REEMBED) from error


def open_stamps(embedding_set: EmbeddingSet) -> Stamps:
    """What each row's vector was made from: uint64 (n_rows,), 0 for no vector; empty without vectors.

    Damaged or missing files count as none, so that computing again is always a way out.
    """
    old = _open_or_nothing(embedding_set)
    return np.empty(0, dtype=np.uint64) if old is None else np.array(old[1])


def save_part(
    embedding_set: EmbeddingSet,
    start: int,
    stop: int,
    rows: npt.NDArray[np.int64],
    stamps: Stamps,
    vectors: FloatArray,
) -> None:
    """Keep the finished rows of [start, stop) until :func:`merge_parts`; a part that is there is complete.

    ``rows`` (k,), ``stamps`` (k,) and ``vectors`` (k, dim). A stamp of 0, or a vector that is not finite,
    takes the row's vector away.
    """
    part = np.zeros(len(rows), dtype=_part_dtype(embedding_set.dim))
    part["row"] = rows
    part["stamp"] = np.where(np.isfinite(vectors).all(axis=1), stamps, 0)
    part["vector"] = np.where(part["stamp"][:, None] != 0, vectors, 0)
    folder = _folder(embedding_set) / "parts"
    with writing(folder / f"{start:012d}-{stop:012d}.npy") as stream:
        np.lib.format.write_array(stream, part, allow_pickle=False)


def has_parts(embedding_set: EmbeddingSet) -> bool:
    """Are there finished shares that no generation holds yet?"""
    return next((_folder(embedding_set) / "parts").glob("*.npy"), None) is not None


def merge_parts(embedding_set: EmbeddingSet, n_rows: int) -> int:
    """Join the vectors so far and all parts into a new generation of ``n_rows`` lines; returns ``n_vectors``.

    Copies in blocks, so memory does not grow with the dataset. The database row is changed last: whoever
    reads meanwhile sees the old generation whole. Only the job that owns the set may call this.

    Raises
    ------
    StoreError : the disk is too full.
    """
    folder = _folder(embedding_set)
    previous = embedding_set.generation
    generation = _next_generation(embedding_set)
    parts, stamps = _write_generation(embedding_set, generation, n_rows)
    n_vectors = int(np.count_nonzero(stamps))
    changed = EmbeddingSet.objects.filter(pk=embedding_set.pk, generation=previous).update(
        generation=generation, n_vectors=n_vectors, updated_at=timezone.now()
    )
    if not changed:
        remove(_vectors_file(embedding_set, generation))
        remove(_stamps_file(embedding_set, generation))
        raise StoreError(f"Another run wrote to {folder} at the same time.", "Start the job again.")
    embedding_set.generation, embedding_set.n_vectors = generation, n_vectors
    for part in parts:
        remove(part.file)
    _remove_generations_before(embedding_set, previous)
    return n_vectors


def delete_vectors(embedding_set: EmbeddingSet) -> None:
    """Remove all files of a set; what is mapped on Windows stays until next time."""
    remove_folder(_folder(embedding_set))


# -- Names ----------------------------------------------------------------------------------------
def _folder(embedding_set: EmbeddingSet) -> Path:
    return Path(settings.STORE_DIR) / "vectors" / str(embedding_set.dataset_id) / str(embedding_set.fingerprint)


def _vectors_file(embedding_set: EmbeddingSet, generation: int) -> Path:
    return _folder(embedding_set) / f"vectors-{generation}.npy"


def _stamps_file(embedding_set: EmbeddingSet, generation: int) -> Path:
    return _folder(embedding_set) / f"stamps-{generation}.npy"


def _next_generation(embedding_set: EmbeddingSet) -> int:
    """One that no file has ever had, so that a run believed dead cannot write into a live run's files."""
    found = [int(file.stem.split("-")[1]) for file in _folder(embedding_set).glob("*-*.npy")]
    return max([*found, embedding_set.generation]) + 1


def _part_dtype(dim: int) -> np.dtype[np.void]:
    return np.dtype([("row", "<i8"), ("stamp", "<u8"), ("vector", "<f4", (dim,))])


# -- Reading --------------------------------------------------------------------------------------
def _open_generation(embedding_set: EmbeddingSet) -> Vectors:
    generation = embedding_set.generation
    file = _vectors_file(embedding_set, generation)
    X = map_array(file, _REEMBED)
    stamps = map_array(_stamps_file(embedding_set, generation), _REEMBED)
    if X.dtype != np.float32 or X.ndim != 2 or X.shape[1] != embedding_set.dim:
        raise StoreError(f"{file} holds {X.dtype} {X.shape}, not float32 with {embedding_set.dim} columns.", _REEMBED)
    if stamps.dtype != np.uint64 or stamps.shape != X.shape[:1]:
        raise StoreError(f"{file} and its stamps do not belong together.", _REEMBED)
    return Vectors(X=X, has=np.asarray(stamps != 0), generation=generation, fingerprint=embedding_set.fingerprint)


def _open_or_nothing(embedding_set: EmbeddingSet) -> tuple[FloatArray, Stamps] | None:
    """Vectors and stamps so far; ``None`` when there are none or the log says that they cannot be read."""
    try:
        vectors = open_vectors(embedding_set)
        if vectors is None:
            return None
        return vectors.X, map_array(_stamps_file(embedding_set, vectors.generation), _REEMBED)
    except (StoreError, FileNotFoundError) as error:
        log.warning("%s All vectors have to be computed again.", error)
        return None


@dataclass(frozen=True)
class _Part:
    """A finished share: its file, which is not kept open (there may be thousands), and which rows it holds."""

    file: Path
    rows: npt.NDArray[np.int64]
    stamps: Stamps

    @property
    def end(self) -> int:
        return int(self.rows.max(initial=-1)) + 1


def _find_parts(folder: Path, dim: int) -> list[_Part]:
    """All parts; a damaged one is removed, and its rows are computed again."""
    parts = []
    for file in sorted(folder.glob("*.npy")):
        try:
            content = np.load(file, allow_pickle=False)
            if content.dtype != _part_dtype(dim):
                raise ValueError(f"{content.dtype} is not what was written")
        except (ValueError, EOFError, OSError) as error:
            log.warning("%s is left out, being damaged (%s).", file, error)
            remove(file)
            continue
        parts.append(_Part(file, content["row"].copy(), content["stamp"].copy()))
    return parts


def _write_generation(embedding_set: EmbeddingSet, generation: int, n_rows: int) -> tuple[list[_Part], Stamps]:
    """Write the two files of a new generation; the parts that went into it, and its stamps."""
    folder, dim = _folder(embedding_set), embedding_set.dim
    parts = _find_parts(folder / "parts", dim)
    old = _open_or_nothing(embedding_set)
    n_rows = max(n_rows, len(old[1]) if old else 0, *(part.end for part in parts), 0)
    require_space(folder, n_rows * (dim * 4 + 8))
    stamps = np.zeros(n_rows, dtype=np.uint64)
    if old is not None:
        stamps[: len(old[1])] = old[1]
    for part in parts:
        stamps[part.rows] = part.stamps
    with writing(_vectors_file(embedding_set, generation)) as stream:
        write_header(stream, (n_rows, dim), np.dtype(np.float32))
        for block in _joined_blocks(old[0] if old else None, parts, n_rows, dim):
            stream.write(block.data)
    with writing(_stamps_file(embedding_set, generation)) as stream:
        np.lib.format.write_array(stream, stamps, allow_pickle=False)
    return parts, stamps


def _joined_blocks(old: FloatArray | None, parts: Sequence[_Part], n_rows: int, dim: int) -> Iterator[FloatArray]:
    """The lines of a new generation from top to bottom: old ones, overlaid by the parts' rows."""
    start = 0
    for count in block_lengths(n_rows, dim * 4):
        stop = start + count
        block = np.zeros((count, dim), dtype=np.float32)
        if old is not None and start < len(old):
            block[: len(old) - start] = old[start:stop]
        for part in parts:
            inside = (part.rows >= start) & (part.rows < stop)
            if inside.any():
                block[part.rows[inside] - start] = np.load(part.file)["vector"][inside]
        yield block
        start = stop


# -- Removing -------------------------------------------------------------------------------------
def _remove_generations_before(embedding_set: EmbeddingSet, keep: int) -> None:
    """Remove older files: whoever read the database row a moment ago still finds the generation before."""
    folder = _folder(embedding_set)
    for file in folder.glob("*-*.npy"):
        if int(file.stem.split("-")[1]) < keep:
            remove(file)
    for file in [*folder.glob("*.tmp"), *(folder / "parts").glob("*.tmp")]:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > _ABANDONED_SECONDS:
                remove(file)
