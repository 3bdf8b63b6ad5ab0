"""Where maps keep their coordinates: float32 (n_rows, 2) by row, NaN where an item has no place."""

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
    """The places of all rows, (n_rows, 2), mapped; items that came later have no row here yet.

    Raises
    ------
    StoreError : the file is gone or damaged.
    """
    file = _file(projection)
    try:
        return cast(Floats, map_array(file, _AGAIN))
    except FileNotFoundError:
        # The row was read before another generation came and the old file went.
        projection.refresh_from_db(fields=["generation"])
    try:
        return cast(Floats, map_array(_file(projection), _AGAIN))
    except FileNotFoundError as error:
        raise StoreError(f"The file of coordinates {error.filename} is missing.", _AGAIN) from error


def save_coordinates(projection: Projection, places: Floats) -> None:
    """Write the places of all rows as the next generation, of a projection that is saved; older files go."""
    older = _file(projection)
    projection.generation += 1
    with writing(_file(projection)) as stream:
        np.save(stream, np.ascontiguousarray(places, dtype=np.float32))
    projection.save(update_fields=["generation"])
    remove(older)


def forget_projection(instance: Projection, **kwargs: object) -> None:
    """After a projection was deleted: its coordinates go too."""
    if instance.pk is not None:
        remove_folder(_folder(instance.pk))


def _folder(pk: int) -> Path:
    return Path(settings.STORE_DIR) / "maps" / str(pk)


def _file(projection: Projection) -> Path:
    return _folder(projection.pk) / f"coordinates-{projection.generation}.npy"
