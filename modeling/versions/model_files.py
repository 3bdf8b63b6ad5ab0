"""What a model version keeps on disk, beside its row in the database.

One folder a version under ``settings.STORE_DIR``::

    models/<model version>/probabilities.npy   float32 (n_rows, n_classes), NaN: the version says nothing
    models/<model version>/held_out.npy        what the model says of its own labels unseen
    models/<model version>/head.npz            the classifier on the vectors, to begin from or to predict again

The files are written under a temporary name, then renamed, and never changed afterwards.
"""

from __future__ import annotations

import contextlib
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from django.conf import settings

from hoshina.core.storage import (
    StoreError,
    block_lengths,
    map_array,
    put_in_place,
    remove,
    remove_folder,
    require_space,
    write_header,
    writing,
)
from modeling.algorithms.head import Head
from modeling.models import ModelVersion

FloatArray = npt.NDArray[np.float32]

_RETRAIN = "Retrain to compute the probabilities again."


def folder_of(model_version: ModelVersion) -> Path:
    """Where a version's files are."""
    return Path(settings.STORE_DIR) / "models" / str(model_version.pk)


# -- Probabilities --------------------------------------------------------------------------------
@contextlib.contextmanager
def save_probabilities(model_version: ModelVersion, n_rows: int, n_classes: int) -> Iterator[npt.NDArray[np.float32]]:
    """A writable map float32 (n_rows, n_classes), all NaN at first; the file once the block ends well.

    >>> with save_probabilities(version, len(vectors), 3) as out:
    ...     out[rows] = probabilities
    """
    target = _probabilities_file(model_version)
    require_space(target.parent, n_rows * n_classes * 4)
    draft = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        # Filled by writing, not by mapping: a full disk is then an error and not the end of the process.
        with writing(draft) as stream:
            write_header(stream, (n_rows, n_classes), np.dtype(np.float32))
            for count in block_lengths(n_rows, n_classes * 4):
                stream.write(np.full((count, n_classes), np.nan, dtype=np.float32).data)
        out: Any = np.lib.format.open_memmap(draft, mode="r+")
        yield out
        out.flush()
        del out
        put_in_place(draft, target)
    finally:
        remove(draft)


def probabilities_written(model_version: ModelVersion) -> int:
    """When the probabilities were written (nanoseconds), 0 while there are none: new images are predicted later."""
    try:
        return _probabilities_file(model_version).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def open_probabilities(model_version: ModelVersion) -> npt.NDArray[np.float32] | None:
    """The probabilities float32 (n_rows, n_classes) of a model, read-only; ``None`` while there are none.

    Lines of rows without a vector are NaN, and rows may be missing at the end: those came after the model.

    Raises
    ------
    StoreError : the file is cut short or of another shape than the database says.
    """
    file = _probabilities_file(model_version)
    try:
        found: npt.NDArray[np.float32] = map_array(file, _RETRAIN)
    except FileNotFoundError:
        return None
    if found.dtype != np.float32 or found.ndim != 2 or found.shape[1] != len(model_version.class_ids):
        raise StoreError(
            f"{file} holds {found.dtype} {found.shape}, "
            f"not float32 with a column for each of {len(model_version.class_ids)} classes.",
            _RETRAIN,
        )
    return found


def delete_probabilities(model_version: ModelVersion) -> None:
    """Remove what grows with the dataset; the classifier stays, so that it can predict again."""
    remove(_probabilities_file(model_version))


def delete_held_out(model_version: ModelVersion) -> None:
    """Remove what grows with the labels: the version can no longer be compared image by image."""
    remove(_held_out_file(model_version))


def delete_files(model_version: ModelVersion) -> None:
    """Remove all files of a version; what is mapped on Windows stays until next time."""
    remove_folder(folder_of(model_version))


# -- Held out -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class HeldOut:
    """What a model version says of the labels that it was made from, each by a fit that had not seen it.

    ``rows`` int64 (m,), ascending; ``columns`` int64 (m,), the label at that time as a position in ``class_ids``;
    ``probabilities`` float32 (m, n_classes), calibrated, 0 for a class that nothing else was labelled as; ``groups``
    int64 (m,), equal for those that were kept on one side, None where no two were.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    probabilities: FloatArray
    groups: npt.NDArray[np.int64] | None = None


def save_held_out(model_version: ModelVersion, held_out: HeldOut) -> None:
    """Write a model version's held-out probabilities, all at once or not at all."""
    is_grouped = held_out.groups is not None
    lines = np.zeros(len(held_out.rows), dtype=_held_out_dtype(held_out.probabilities.shape[1], is_grouped))
    lines["row"] = held_out.rows
    lines["column"] = held_out.columns
    lines["probability"] = held_out.probabilities
    if is_grouped:
        lines["group"] = held_out.groups
    with writing(_held_out_file(model_version)) as stream:
        np.lib.format.write_array(stream, lines, allow_pickle=False)


def open_held_out(model_version: ModelVersion) -> HeldOut | None:
    """The held-out probabilities of a model; ``None`` where too few labels could be held out, or its files are gone.

    Raises
    ------
    StoreError : the file is cut short or of another kind than the database says.
    """
    file = _held_out_file(model_version)
    try:
        lines: Any = map_array(file, _RETRAIN)
    except FileNotFoundError:
        return None
    is_grouped = "group" in (lines.dtype.names or ())
    expected = _held_out_dtype(len(model_version.class_ids), is_grouped)
    if lines.dtype != expected or lines.ndim != 1:
        raise StoreError(
            f"{file} holds {lines.dtype} {lines.shape}, not lines for {len(model_version.class_ids)} classes.", _RETRAIN
        )
    groups = np.array(lines["group"]) if is_grouped else None
    return HeldOut(np.array(lines["row"]), np.array(lines["column"]), np.array(lines["probability"]), groups)


def has_held_out(model_version: ModelVersion) -> bool:
    """Whether the held-out probabilities are there, without opening them."""
    return _held_out_file(model_version).exists()


# -- The classifier -------------------------------------------------------------------------------
def save_head(model_version: ModelVersion, head: Head) -> None:
    """Keep the classifier that a version has on its vectors, some kilobytes."""
    with writing(_head_file(model_version)) as stream:
        np.savez(stream, weights=head.weights, bias=head.bias)


def open_head(model_version: ModelVersion) -> Head | None:
    """The classifier of a version; ``None`` where it has none, or its files are gone.

    Raises
    ------
    StoreError : the file is damaged.
    """
    file = _head_file(model_version)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            return Head(kept["weights"], kept["bias"], 0, True)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise StoreError(f"{file} is damaged ({error}).", "Retrain to make a new version.") from error


def has_head(model_version: ModelVersion) -> bool:
    """Whether the classifier is there, without opening it."""
    return _head_file(model_version).exists()


# -- Names ----------------------------------------------------------------------------------------
def _probabilities_file(model_version: ModelVersion) -> Path:
    return folder_of(model_version) / "probabilities.npy"


def _held_out_file(model_version: ModelVersion) -> Path:
    return folder_of(model_version) / "held_out.npy"


def _head_file(model_version: ModelVersion) -> Path:
    return folder_of(model_version) / "head.npz"


def _held_out_dtype(n_classes: int, is_grouped: bool) -> np.dtype[Any]:
    group = [("group", "<i8")] if is_grouped else []
    return np.dtype([("row", "<i8"), ("column", "<i8"), ("probability", "<f4", (n_classes,)), *group])
