"""Open files of embeddings: one vector for each key, mapped from disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.storage import require_space
from modeling.external import array_files
from modeling.external.array_files import Keys

# Names of the array or column of the vectors, in lower case.
_NAMES = ("embeddings", "embedding", "vectors", "vector", "features", "feature", "emb", "x")
_PARQUET_ROWS = 4096


@dataclass(frozen=True)
class VectorFile:
    """Represent an open file of embeddings: vectors (n, dim) of numbers, mapped, and the keys of their rows."""

    X: NDArray[Any]
    keys: Keys


@contextmanager
def opened(file: Path, ids: Path | None, kind: str, folder: Path) -> Iterator[VectorFile]:
    """Open a file of embeddings; copies are made in ``folder`` where a file cannot be mapped.

    ``ids`` is a file of keys and ``kind`` what they are, each optional. Raises Refusal.
    """
    array_files.require_file(file, array_files.SUFFIXES)
    if ids is not None:
        array_files.require_file(ids, (".npy", ".txt", ".csv", ".tsv"))
    side_keys = None if ids is None else array_files.keys_in_file(ids)
    suffix = file.suffix.lower()
    if suffix == ".npy":
        X = array_files.open_npy(file)
        if side_keys is None:
            raise Refusal(
                f"{file.name} does not say which image each of its rows belongs to.",
                "Give a text or CSV file with one image a line, in the order of the rows (--ids FILE).",
            )
        yield _checked(X, array_files.with_kind(side_keys, kind))
    elif suffix == ".npz":
        with array_files.opened_archive(file, folder) as arrays:
            X = arrays.pop(_pick_vectors(file, arrays))
            yield _checked(X, array_files.with_kind(side_keys or array_files.pick_keys(arrays, len(X)), kind))
    else:
        table = array_files.open_parquet(file)
        keys = side_keys or array_files.parquet_keys(table)
        with _copied(file, table, keys.name, folder) as X:
            yield _checked(X, array_files.with_kind(keys, kind))


def _checked(X: NDArray[Any], keys: Keys) -> VectorFile:
    if X.ndim != 2 or X.dtype.kind not in "fiu":
        raise Refusal(
            f"The vectors are {X.dtype} {X.shape}.", "Expected numbers with two dimensions: images and values."
        )
    if not 1 <= X.shape[1] <= array_files.MAX_DIM:
        raise Refusal(f"The vectors have {X.shape[1]:,} values each.", f"Expected 1 to {array_files.MAX_DIM:,}.")
    return VectorFile(X, keys)


def _pick_vectors(file: Path, arrays: dict[str, NDArray[Any]]) -> str:
    tables = [name for name, array in arrays.items() if array.ndim == 2 and array.dtype.kind in "fiu"]
    named = [name for name in arrays if name.lower() in _NAMES]
    found = named or tables
    if len(found) != 1:
        listed = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "none"
        raise Refusal(
            f"{file.name} has no single array of embeddings. Its arrays are: {listed}.", "Name it embeddings."
        )
    return found[0]


# -- Parquet ---------------------------------------------------------------------------------------
@contextmanager
def _copied(file: Path, table: Any, key: str, folder: Path) -> Iterator[NDArray[np.float32]]:
    """Copy the vectors of a Parquet file to an array, some thousand rows at a time, and map it."""
    columns = _vector_columns(file, table.schema_arrow, key)
    n_rows = table.metadata.num_rows
    if not n_rows:
        raise Refusal(f"{file.name} has no rows.")
    dim = len(columns) if len(columns) > 1 else _list_length(file, table, columns[0])
    require_space(folder, n_rows * dim * 4)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as copies:
        copy = Path(copies) / "vectors.npy"
        X = np.lib.format.open_memmap(copy, mode="w+", dtype=np.float32, shape=(n_rows, dim))
        start = 0
        for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=columns):
            X[start : start + len(batch)] = _values(batch, columns, dim, start)
            start += len(batch)
        X.flush()
        del X
        yield array_files.open_npy(copy)


def _vector_columns(file: Path, schema: Any, key: str) -> list[str]:
    """Return the column of lists, or all columns of numbers except that of the keys."""
    import pyarrow as pa

    def is_list(kind: Any) -> bool:
        return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))

    lists = [field.name for field in schema if is_list(field.type)]
    named = [name for name in lists if name.lower() in _NAMES]
    if len(named or lists) == 1:
        return named or lists
    numbers = [field.name for field in schema if pa.types.is_floating(field.type) and field.name != key]
    if lists or not numbers:
        raise Refusal(
            f"{file.name} has no single column of embeddings.",
            "Name a column of lists embedding, or give each value a column of decimal numbers.",
        )
    return numbers


def _list_length(file: Path, table: Any, column: str) -> int:
    first = next(table.iter_batches(batch_size=1, columns=[column])).column(0)[0].as_py()
    if not first:
        raise Refusal(f"The first vector of {file.name} is empty.")
    return len(first)


def _values(batch: Any, columns: Sequence[str], dim: int, start: int) -> NDArray[np.float32]:
    """Return the vectors of a batch; NaN for those that are missing. Raises Refusal if their lengths differ."""
    import pyarrow.compute as pc

    if len(columns) > 1:
        return np.column_stack([_numbers(batch.column(name)) for name in columns])
    lists = batch.column(0)
    found = np.full((len(batch), dim), np.nan, np.float32)
    is_there = np.asarray(lists.is_valid())
    lengths = np.asarray(pc.list_value_length(lists.filter(is_there)))
    if (lengths != dim).any():
        place = start + int(np.flatnonzero(is_there)[np.argmax(lengths != dim)])
        raise Refusal(
            f"The vector of row {place + 1} has {lengths[lengths != dim][0]} values; the first one has {dim}.",
            "All vectors must have the same length.",
        )
    found[is_there] = _numbers(pc.list_flatten(lists)).reshape(-1, dim)
    return found


def _numbers(column: Any) -> NDArray[np.float32]:
    """Return a column as float32, NaN where there is no value."""
    with np.errstate(over="ignore"):
        found: NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32)
    return found
