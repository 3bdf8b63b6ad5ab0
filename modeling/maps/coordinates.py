"""Read and write the coordinates of maps: float32 (n_rows, 2) by row, NaN for items without a position."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from hoshina.core.storage import StoreError, map_array, remove, remove_folder, writing
from modeling.models import Projection

Floats = NDArray[np.float32]
_AGAIN = "Make the map again: hoshina project_map, or on the page Map."


def coordinates_of(projection: Projection) -> Floats:
    """Return the positions of all rows, (n_rows, 2), memory-mapped; later items have no row here yet.

    Raises
    ------
    StoreError : the file is missing or damaged.
    """
    file = _file(projection)
    try:
        return cast(Floats, map_array(file, _AGAIN))
    except FileNotFoundError:
        # The record was read before the file of the next generation replaced this one.
        projection.refresh_from_db(fields=["generation"])
    try:
        return cast(Floats, map_array(_file(projection), _AGAIN))
    except FileNotFoundError as error:
        raise StoreError(f"The file of coordinates {error.filename} is missing.", _AGAIN) from error


def save_coordinates(projection: Projection, places: Floats) -> None:
    """Write the positions of all rows as the next generation of a saved projection, and delete the previous file."""
    older = _file(projection)
    projection.generation += 1
    with writing(_file(projection)) as stream:
        np.save(stream, np.ascontiguousarray(places, dtype=np.float32))
    projection.save(update_fields=["generation"])
    remove(older)


def forget_projection(instance: Projection, **kwargs: object) -> None:
    """Delete the coordinates of a projection after it was deleted."""
    if instance.pk is not None:
        remove_folder(_folder(instance.pk))


def _folder(pk: int) -> Path:
    return Path(settings.STORE_DIR) / "maps" / str(pk)


def _file(projection: Projection) -> Path:
    return _folder(projection.pk) / f"coordinates-{projection.generation}.npy"
