"""Write embeddings and predictions to files that the server imports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hoshina_client.items import Item

# Larger files are sent in parts; the server takes 512 MiB.
MOST_BYTES = 400 * 2**20

Keys = NDArray[Any]


def keys_of(ids: Iterable[Item | int | str]) -> Keys:
    """Return what names the images: item ids as numbers; paths, file names or SHA-256 as text."""
    keys = [key.id if isinstance(key, Item) else key for key in ids]
    if all(isinstance(key, (str, Path)) for key in keys):
        return np.array([str(key) for key in keys])
    if any(isinstance(key, (str, Path)) for key in keys):
        raise TypeError("Some ids are numbers and some are text. Use item ids or paths for all.")
    return np.array([int(key) for key in keys], np.int64)


def embeddings_in_parts(ids: Iterable[Item | int | str], X: ArrayLike) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the arrays of one or several files with embeddings (n, d)."""
    keys, array = keys_of(ids), np.asarray(X)
    _check(keys, array, "embeddings")
    if array.dtype != np.float16:
        array = array.astype(np.float32, copy=False)
    per_part = max(1, MOST_BYTES // max(1, array.shape[1] * array.itemsize + keys.itemsize))
    for start in range(0, len(array), per_part):
        rows = slice(start, start + per_part)
        yield {"embeddings": array[rows], _name(keys): keys[rows]}


def predictions(ids: Iterable[Item | int | str], P: ArrayLike, classes: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file with the probabilities (n, c) of classes."""
    keys, array, names = keys_of(ids), np.asarray(P, np.float32), np.array([str(name) for name in classes])
    _check(keys, array, "probabilities")
    if array.shape[1] != len(names):
        raise ValueError(f"P has {array.shape[1]:,} columns, and there are {len(names):,} classes.")
    return {"probabilities": array, "classes": names, _name(keys): keys}


def _check(keys: Keys, array: NDArray[Any], what: str) -> None:
    if array.ndim != 2:
        raise ValueError(f"The {what} have the shape {array.shape}. Expected one row for each image.")
    if len(keys) != len(array):
        raise ValueError(f"There are {len(keys):,} ids and {len(array):,} rows of {what}.")
    if not len(keys):
        raise ValueError(f"There are no {what}.")


def _name(keys: Keys) -> str:
    return "ids" if keys.dtype.kind == "U" else "item_id"
