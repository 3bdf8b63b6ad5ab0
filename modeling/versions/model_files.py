"""Read and write the files of model versions.

Each version has a folder in ``settings.STORE_DIR``::

    models/<model version>/probabilities.npy   float32 (n_rows, n_classes), NaN: no prediction
    models/<model version>/held_out.npy        held-out predictions of the training labels
    models/<model version>/head.npz            the classifier on the embeddings, to start from or to predict again

The files are written whole or not at all, and never changed afterwards.
"""

from __future__ import annotations

import contextlib
import uuid
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
    find_array,
    find_arrays,
    put_in_place,
    remove,
    remove_folder,
    require_space,
    write_array,
    write_arrays,
    write_header,
    writing,
)
from modeling.algorithms.head import Head
from modeling.models import ModelVersion

FloatArray = npt.NDArray[np.float32]

_PROBABILITIES, _HELD_OUT, _HEAD = "probabilities.npy", "held_out.npy", "head.npz"
_RETRAIN = "Retrain to compute the probabilities again."


def folder_of(model_version: ModelVersion) -> Path:
    """Return the folder of a version's files."""
    return Path(settings.STORE_DIR) / "models" / str(model_version.pk)


def ids_with_files() -> set[int]:
    """Return the ids of the versions that have a folder."""
    folder = Path(settings.STORE_DIR) / "models"
    return {int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()} if folder.is_dir() else set()


def quick_folder(model_version: ModelVersion) -> Path:
    """Return the folder of a quick training's files: the model in several formats, its card, classes, and a program."""
    return folder_of(model_version) / "quick"


def quick_files(model_version: ModelVersion) -> list[Path]:
    """Return the files that a quick training offers for download, by name; none of other versions."""
    folder = quick_folder(model_version)
    return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []


# -- Probabilities --------------------------------------------------------------------------------
@contextlib.contextmanager
def save_probabilities(model_version: ModelVersion, n_rows: int, n_classes: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield a writable map float32 (n_rows, n_classes), filled with NaN; it becomes the file if the block succeeds.

    >>> with save_probabilities(version, len(vectors), 3) as out:
    ...     out[rows] = probabilities
    """
    target = folder_of(model_version) / _PROBABILITIES
    require_space(target.parent, n_rows * n_classes * 4)
    draft = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        # Filled by writing, not through the map: a full disk then raises an error instead of ending the process.
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
    """Return the time at which the probabilities were written (nanoseconds), or 0; new images may be added later."""
    try:
        return (folder_of(model_version) / _PROBABILITIES).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def open_probabilities(model_version: ModelVersion) -> npt.NDArray[np.float32] | None:
    """Open the probabilities float32 (n_rows, n_classes) of a version, read-only; None if there are none.

    Rows without an embedding are NaN, and rows may be missing at the end: these items are newer than the predictions.

    Raises
    ------
    StoreError : the file is truncated or has a shape other than in the database.
    """
    return find_array(folder_of(model_version) / _PROBABILITIES, _RETRAIN, np.float32, (len(model_version.class_ids),))


def delete_probabilities(model_version: ModelVersion) -> None:
    """Delete the probabilities, which grow with the dataset; the classifier stays and can predict again."""
    remove(folder_of(model_version) / _PROBABILITIES)


def delete_files(model_version: ModelVersion) -> None:
    """Delete all files of a version; on Windows, files that are mapped stay until the next attempt."""
    remove_folder(folder_of(model_version))


# -- Held out -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class HeldOut:
    """Held-out predictions: what a version predicts for its training labels, each by a fit trained without it.

    ``rows`` int64 (m,), ascending; ``columns`` int64 (m,), the label at that time as a position in ``class_ids``;
    ``probabilities`` float32 (m, n_classes), calibrated, 0 for a class without other labels; ``groups`` int64 (m,),
    equal for images that were held out together, or None if all were separate.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    probabilities: FloatArray
    groups: npt.NDArray[np.int64] | None = None


def save_held_out(model_version: ModelVersion, held_out: HeldOut) -> None:
    """Write a version's held-out predictions atomically."""
    is_grouped = held_out.groups is not None
    lines = np.zeros(len(held_out.rows), dtype=_held_out_dtype(held_out.probabilities.shape[1], is_grouped))
    lines["row"] = held_out.rows
    lines["column"] = held_out.columns
    lines["probability"] = held_out.probabilities
    if is_grouped:
        lines["group"] = held_out.groups
    write_array(folder_of(model_version) / _HELD_OUT, lines)


def open_held_out(model_version: ModelVersion) -> HeldOut | None:
    """Open the held-out predictions of a version; None if it had too few labels or the file is missing.

    Raises
    ------
    StoreError : the file is truncated or has a type other than in the database.
    """
    file = folder_of(model_version) / _HELD_OUT
    lines = find_array(file, _RETRAIN)
    if lines is None:
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
    """Return whether the held-out predictions exist, without opening them."""
    return (folder_of(model_version) / _HELD_OUT).exists()


# -- The classifier -------------------------------------------------------------------------------
def save_head(model_version: ModelVersion, head: Head) -> None:
    """Write the version's classifier on its embeddings, some kilobytes."""
    write_arrays(folder_of(model_version) / _HEAD, weights=head.weights, bias=head.bias)


def open_head(model_version: ModelVersion) -> Head | None:
    """Open the classifier of a version; None if it has none or the file is missing.

    Raises
    ------
    StoreError : the file is damaged.
    """
    arrays = find_arrays(folder_of(model_version) / _HEAD, "Retrain to get a new version.", "weights", "bias")
    return None if arrays is None else Head(arrays["weights"], arrays["bias"], 0, True)


def has_head(model_version: ModelVersion) -> bool:
    """Return whether the classifier exists, without opening it."""
    return (folder_of(model_version) / _HEAD).exists()


def _held_out_dtype(n_classes: int, is_grouped: bool) -> np.dtype[Any]:
    group = [("group", "<i8")] if is_grouped else []
    return np.dtype([("row", "<i8"), ("column", "<i8"), ("probability", "<f4", (n_classes,)), *group])
