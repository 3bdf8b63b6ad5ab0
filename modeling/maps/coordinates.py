"""Read and write the coordinates of maps: float32 (n_rows, 2) by row, NaN for items without a position."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from hoshina.core.storage import Generations, remove_folder
from modeling.models import Projection

Floats = NDArray[np.float32]
_AGAIN = "Compute the map again: hoshina project_map, or on the page Map."


def coordinates_of(projection: Projection) -> Floats:
    """Return the positions of all rows, (n_rows, 2), memory-mapped; later items have no row here yet.

    Raises
    ------
    StoreError : the file is missing or damaged.
    """
    files = _files(projection.pk)

    def read() -> Floats:
        return cast(Floats, files.open("coordinates", projection.generation, np.float32, (2,)))

    return files.read_current(projection, read)


def save_coordinates(projection: Projection, places: Floats) -> None:
    """Write the positions of all rows as the next generation of a saved projection, and delete the previous file."""
    files = _files(projection.pk)
    projection.generation += 1
    files.write("coordinates", projection.generation, places.astype(np.float32, copy=False))
    projection.save(update_fields=["generation"])
    files.remove_before(projection.generation)


def forget_projection(instance: Projection, **kwargs: object) -> None:
    """Delete the coordinates of a projection after it was deleted."""
    if instance.pk is not None:
        remove_folder(_files(instance.pk).folder)


def _files(pk: int) -> Generations:
    return Generations(Path(settings.STORE_DIR) / "maps" / str(pk), _AGAIN)
