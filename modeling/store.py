"""Read and write embeddings on disk; the only module that maps an item's row to a line of a file.

Every array has one line per ``Item.row`` of its dataset, like the arrays of a model version
(``modeling.versions.model_files``).
All are under ``settings.STORE_DIR``::

    vectors/<dataset>/<fingerprint>/vectors-<generation>.npy   float32 (n_rows, dim)
    vectors/<dataset>/<fingerprint>/stamps-<generation>.npy    uint64 (n_rows,), 0: this row has no embedding
    vectors/<dataset>/<fingerprint>/missing-<generation>.npy   bool (n_rows, n_slots), only if a frame is missing
    vectors/<dataset>/<fingerprint>/reduction.npz              components of joined encoders (modeling.backends.joined)
    vectors/<dataset>/<fingerprint>/parts/<start>-<stop>.npy   finished chunks of a running job

New vectors make a new generation of files (`hoshina.core.storage.Generations`). A *stamp* is the start of the image's
SHA-256: where it differs from the frame's, the vector is stale.

The embedding of an item of several frames has a slot for each role. A missing frame is replaced by the mean of its
role over all frames that exist. The mean changes with every new image, so it is computed again for each generation
from its content, and the result does not depend on the order in which embeddings were added.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.utils import timezone

from hoshina.core.errors import Refusal
from hoshina.core.storage import (
    Generations,
    StoreError,
    block_lengths,
    find_arrays,
    remove,
    remove_folder,
    require_space,
    write_array,
    write_arrays,
    write_header,
    writing,
)
from modeling.algorithms.reduction import Reduction
from modeling.models import EmbeddingSet

__all__ = [
    "MissingEmbeddings",
    "StoreError",
    "Vectors",
    "active_vectors",
    "delete_vectors",
    "has_parts",
    "merge_parts",
    "open_reduction",
    "open_stamps",
    "open_vectors",
    "replace_vectors",
    "save_part",
    "save_reduction",
    "stamp_of",
]

log = logging.getLogger(__name__)
FloatArray = npt.NDArray[np.float32]
Stamps = npt.NDArray[np.uint64]
Slots = npt.NDArray[np.bool_]
Block = tuple[int, FloatArray]
_REEMBED = "Run `hoshina embed` to compute the embeddings again."
_REIMPORT = "Import the embeddings again, or choose another encoder."


class MissingEmbeddings(Refusal):
    """Images have no embeddings yet; an embedding job computes them."""

    HINT = "Wait for the embedding job (see Jobs), or run hoshina embed."


@dataclass(frozen=True)
class Vectors:
    """One generation of the embeddings of a dataset.

    ``X`` is a read-only memory map, float32 (n_rows, dim); ``has`` is bool (n_rows,), true if the row has an
    embedding (all finite; the other lines are zeros). Items added later have rows >= n_rows.
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
    """Return the first 8 bytes of a hexadecimal SHA-256 as a number; never 0, which means "no embedding"."""
    return int(sha256[:16], 16) or 1


def open_vectors(embedding_set: EmbeddingSet) -> Vectors | None:
    """Open the current embeddings of a set, or return None if there are none. Copies nothing, whatever the size.

    Raises
    ------
    StoreError : the files are missing, truncated or have a shape other than in the database.
    """
    return _files(embedding_set).read_current(embedding_set, lambda: _open_generation(embedding_set))


def active_vectors(dataset_id: int | None) -> tuple[EmbeddingSet, Vectors]:
    """Return the embedding set in use and its vectors.

    Raises
    ------
    MissingEmbeddings : there are none yet.
    StoreError : they are missing or damaged.
    """
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset_id, is_active=True).first()
    vectors = open_vectors(embedding_set) if embedding_set else None
    if embedding_set is None or vectors is None:
        raise MissingEmbeddings("These images have no embeddings yet.", MissingEmbeddings.HINT)
    return embedding_set, vectors


def open_stamps(embedding_set: EmbeddingSet) -> Stamps:
    """Return the stamp of each row's embedding: uint64 (n_rows,), 0 without one; empty if there are none at all.

    Damaged or missing files count as none, so that they can always be computed again.
    """
    old = _open_or_nothing(embedding_set)
    return np.empty(0, dtype=np.uint64) if old is None else np.array(old.stamps)


def save_part(
    embedding_set: EmbeddingSet,
    start: int,
    stop: int,
    rows: npt.NDArray[np.int64],
    stamps: Stamps,
    vectors: FloatArray,
    missing: Slots | None = None,
) -> None:
    """Save the finished rows of [start, stop) for :func:`merge_parts`; a part that exists is complete.

    ``rows`` (k,), ``stamps`` (k,), ``vectors`` (k, dim), and ``missing`` bool (k, n_slots): which slots of equal width
    have no frame. A stamp of 0, a vector that is not finite, or one of empty slots only, removes the row's embedding.
    """
    missing = np.zeros((len(rows), 1), np.bool_) if missing is None else missing
    is_sound = np.isfinite(vectors).all(axis=1) & ~missing.all(axis=1)
    part = np.zeros(len(rows), dtype=_part_dtype(embedding_set.dim, missing.shape[1]))
    part["row"] = rows
    part["stamp"] = np.where(is_sound, stamps, 0)
    part["vector"] = np.where(part["stamp"][:, None] != 0, vectors, 0)
    part["missing"] = missing & (part["stamp"][:, None] != 0)
    write_array(_parts_folder(embedding_set) / f"{start:012d}-{stop:012d}.npy", part)


def has_parts(embedding_set: EmbeddingSet) -> bool:
    """Return whether there are finished parts that have not been merged."""
    return next(_parts_folder(embedding_set).glob("*.npy"), None) is not None


def merge_parts(embedding_set: EmbeddingSet, n_rows: int) -> int:
    """Merge the current embeddings and all parts into a new generation of ``n_rows`` lines; return ``n_vectors``.

    Copies in blocks, so memory does not grow with the dataset. The database row is changed last: concurrent readers
    see the complete old generation. Only the job that owns the set may call this.

    Raises
    ------
    StoreError : the disk is too full.
    """
    files = _files(embedding_set)
    previous = embedding_set.generation
    generation = files.next_after(previous)
    parts, stamps = _write_generation(embedding_set, generation, n_rows)
    _publish(embedding_set, files, generation, stamps)
    for part in parts:
        remove(part.file)
    files.remove_before(previous)  # readers that loaded the row a moment ago still find the previous generation
    return embedding_set.n_vectors


def replace_vectors(embedding_set: EmbeddingSet, stamps: Stamps, blocks: Iterator[FloatArray]) -> int:
    """Write a new generation from ``blocks`` of all rows in order, each float32 (n, dim); return ``n_vectors``.

    ``stamps`` (n_rows,) are written after the blocks, which may still set those of rows without an embedding to 0;
    these rows must be zeros. If a block raises an error, the current generation stays. Raises StoreError.
    """
    files, previous = _files(embedding_set), embedding_set.generation
    generation = files.next_after(previous)
    require_space(files.folder, len(stamps) * (embedding_set.dim * 4 + 8))
    with writing(files.file("vectors", generation)) as stream:
        write_header(stream, (len(stamps), embedding_set.dim), np.dtype(np.float32))
        for block in blocks:
            stream.write(block.data)
    files.write("stamps", generation, stamps)
    _publish(embedding_set, files, generation, stamps)
    files.remove_before(previous)
    return embedding_set.n_vectors


def _publish(embedding_set: EmbeddingSet, files: Generations, generation: int, stamps: Stamps) -> None:
    """Make a written generation the current one. Raises StoreError if another run did so in the meantime."""
    n_vectors = int(np.count_nonzero(stamps))
    changed = EmbeddingSet.objects.filter(pk=embedding_set.pk, generation=embedding_set.generation).update(
        generation=generation, n_vectors=n_vectors, updated_at=timezone.now()
    )
    if not changed:
        files.remove(generation)
        raise StoreError(f"Another run wrote to {files.folder} at the same time.", "Start the job again.")
    embedding_set.generation, embedding_set.n_vectors = generation, n_vectors


def delete_vectors(embedding_set: EmbeddingSet) -> None:
    """Delete all files of a set; on Windows, files that are mapped stay until the next attempt."""
    remove_folder(_files(embedding_set).folder)


# -- Components of joined encoders ----------------------------------------------------------------
def save_reduction(embedding_set: EmbeddingSet, reduction: Reduction) -> None:
    """Write the components that the set's vectors are reduced to. Raises StoreError."""
    write_arrays(_reduction_file(embedding_set), **asdict(reduction))


def open_reduction(embedding_set: EmbeddingSet) -> Reduction | None:
    """Open the components that the set's vectors are reduced to; None if there are none.

    Raises
    ------
    StoreError : the file is damaged.
    """
    arrays = find_arrays(_reduction_file(embedding_set), _REEMBED, "mean", "scale", "axes", "left_out")
    if arrays is None:
        return None
    return Reduction(arrays["mean"], arrays["scale"], arrays["axes"], float(arrays["left_out"]))


def _reduction_file(embedding_set: EmbeddingSet) -> Path:
    return _files(embedding_set).folder / "reduction.npz"


# -- Names ----------------------------------------------------------------------------------------
def _files(embedding_set: EmbeddingSet) -> Generations:
    folder = Path(settings.STORE_DIR) / "vectors" / str(embedding_set.dataset_id) / str(embedding_set.fingerprint)
    return Generations(folder, _REIMPORT if embedding_set.is_imported else _REEMBED)


def _parts_folder(embedding_set: EmbeddingSet) -> Path:
    return _files(embedding_set).folder / "parts"


def _part_dtype(dim: int, n_slots: int) -> np.dtype[np.void]:
    return np.dtype([("row", "<i8"), ("stamp", "<u8"), ("vector", "<f4", (dim,)), ("missing", "?", (n_slots,))])


# -- Reading --------------------------------------------------------------------------------------
def _open_generation(embedding_set: EmbeddingSet) -> Vectors | None:
    files, generation = _files(embedding_set), embedding_set.generation
    if generation == 0:
        return None
    X = files.open("vectors", generation, np.float32, (embedding_set.dim,))
    stamps = files.open("stamps", generation)
    if stamps.dtype != np.uint64 or stamps.shape != X.shape[:1]:
        file = files.file("vectors", generation)
        raise StoreError(f"{file} and its stamps do not belong together.", _REEMBED)
    return Vectors(X=X, has=np.asarray(stamps != 0), generation=generation, fingerprint=embedding_set.fingerprint)


@dataclass(frozen=True)
class _Old:
    """The current generation: vectors (n, dim), stamps (n,), and which slots have no frame (n, n_slots)."""

    X: FloatArray
    stamps: Stamps
    missing: Slots


def _open_or_nothing(embedding_set: EmbeddingSet) -> _Old | None:
    """Open the current embeddings; None if there are none or they cannot be read, which is logged."""
    try:
        vectors = open_vectors(embedding_set)
        if vectors is None:
            return None
        stamps = _files(embedding_set).open("stamps", vectors.generation)
        return _Old(vectors.X, stamps, _open_missing(embedding_set, vectors))
    except (StoreError, FileNotFoundError) as error:
        log.warning("%s All embeddings have to be computed again.", error)
        return None


def _open_missing(embedding_set: EmbeddingSet, vectors: Vectors) -> Slots:
    missing: Slots | None = _files(embedding_set).find("missing", vectors.generation, np.bool_, (None,))
    if missing is None:
        return np.zeros((len(vectors), 1), dtype=np.bool_)
    if len(missing) != len(vectors):
        raise StoreError(f"Generation {vectors.generation} has {len(missing)} rows of missing slots.", _REEMBED)
    return missing


@dataclass(frozen=True)
class _Part:
    """A finished part: its file, which is not kept open (there may be thousands), and the rows it holds."""

    file: Path
    rows: npt.NDArray[np.int64]
    stamps: Stamps
    missing: Slots

    @property
    def end(self) -> int:
        return int(self.rows.max(initial=-1)) + 1


def _find_parts(folder: Path, dim: int) -> list[_Part]:
    """Return all parts; damaged ones are deleted, so that their rows are computed again."""
    parts = []
    for file in sorted(folder.glob("*.npy")):
        try:
            content = np.load(file, allow_pickle=False)
            if content.dtype != _part_dtype(dim, content["missing"].shape[1]):
                raise ValueError(f"{content.dtype} is not what was written")
        except (ValueError, IndexError, EOFError, OSError) as error:
            log.warning("%s is damaged and was ignored (%s).", file, error)
            remove(file)
            continue
        parts.append(_Part(file, content["row"].copy(), content["stamp"].copy(), content["missing"].copy()))
    return parts


def _write_generation(embedding_set: EmbeddingSet, generation: int, n_rows: int) -> tuple[list[_Part], Stamps]:
    """Write the files of a new generation. Return the merged parts and the stamps."""
    files, dim = _files(embedding_set), embedding_set.dim
    parts = _find_parts(_parts_folder(embedding_set), dim)
    old = _open_or_nothing(embedding_set)
    n_rows = max(n_rows, len(old.stamps) if old else 0, *(part.end for part in parts), 0)
    n_slots = max([1 if old is None else old.missing.shape[1], *(part.missing.shape[1] for part in parts)])
    stamps = np.zeros(n_rows, dtype=np.uint64)
    missing = np.zeros((n_rows, n_slots), dtype=np.bool_)
    if old is not None:
        # A generation without missing frames has only one column, which applies to all slots.
        stamps[: len(old.stamps)], missing[: len(old.missing)] = old.stamps, old.missing
    for part in parts:
        stamps[part.rows], missing[part.rows] = part.stamps, part.missing
    require_space(files.folder, n_rows * (dim * 4 + 8) + missing.size)
    blocks = partial(_joined_blocks, old.X if old else None, parts, n_rows, dim)
    means = _means(blocks(), stamps, missing, dim) if missing.any() else None
    with writing(files.file("vectors", generation)) as stream:
        write_header(stream, (n_rows, dim), np.dtype(np.float32))
        for start, block in blocks():
            if means is not None:
                rows, slots = np.nonzero(missing[start : start + len(block)])
                block.reshape(len(block), *means.shape)[rows, slots] = means[slots]
            stream.write(block.data)
    files.write("stamps", generation, stamps)
    if means is not None:
        files.write("missing", generation, missing)
    return parts, stamps


def _means(blocks: Iterator[Block], stamps: Stamps, missing: Slots, dim: int) -> FloatArray:
    """Return the mean of the existing frames of each slot, float32 (n_slots, dim / n_slots); zeros if there are none.

    Summed from top to bottom, so that the result depends only on the rows, and not on when they were added.
    """
    n_slots = missing.shape[1]
    sums = np.zeros((n_slots, dim // n_slots))
    is_there = ~missing & (stamps != 0)[:, None]
    for start, block in blocks:
        frames = block.reshape(len(block), *sums.shape)
        for slot, has_frame in enumerate(is_there[start : start + len(block)].T):
            sums[slot] += frames[has_frame, slot].sum(axis=0, dtype=np.float64)
    means: FloatArray = (sums / np.maximum(is_there.sum(axis=0), 1)[:, None]).astype(np.float32)
    return means


def _joined_blocks(old: FloatArray | None, parts: Sequence[_Part], n_rows: int, dim: int) -> Iterator[Block]:
    """Yield the lines of a new generation with the first row of each block: old lines, replaced by those of parts."""
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
        yield start, block
        start = stop
