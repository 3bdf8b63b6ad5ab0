"""Maps as they are drawn: places of all rows on a square of 16-bit numbers, 4 bytes a point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoshina.core.caches import Kept
from modeling.maps.coordinates import coordinates_of
from modeling.models import Projection

Points = NDArray[np.uint16]
# The square's last step, and what says that a row has no place on it.
LAST, NOWHERE = 65534, 65535
# So much of the square stays free on each side, so that no point lies on the rim.
MARGIN = 0.02


@dataclass(frozen=True)
class Square:
    """The part of the plane that 0 … LAST spans, from the corner (x, y) on; y grows upwards."""

    x: float
    y: float
    side: float

    @property
    def step(self) -> float:
        """The plane's units that one step of the square is."""
        return self.side / LAST


@dataclass(frozen=True)
class Drawn:
    """The points of one generation of a map, uint16 (n_rows, 2), NOWHERE twice where a row has no place."""

    square: Square
    points: Points

    def has_place(self) -> NDArray[np.bool_]:
        """Which rows are on the map, (n_rows,)."""
        has: NDArray[np.bool_] = self.points[:, 0] != NOWHERE
        return has


kept: Kept[Drawn] = Kept(4)


def drawn_of(projection: Projection) -> Drawn:
    """The map's points, kept for the next caller; O(n) once per process and generation.

    Raises
    ------
    StoreError : the file of coordinates is gone or damaged.
    """
    places = coordinates_of(projection)  # which may find that the map grew meanwhile
    return kept.once((projection.pk, projection.generation), lambda: drawn(np.asarray(places)))


def drawn(places: NDArray[np.float32]) -> Drawn:
    """``places`` (n, 2) on the smallest square with a margin that has them all; what isn't finite has no place."""
    has = np.isfinite(places).all(axis=1)
    known = places[has].astype(np.float64)
    low, high = (known.min(axis=0), known.max(axis=0)) if len(known) else (np.zeros(2), np.ones(2))
    centre = (low + high) / 2
    # All in one place: any square around it.
    side = float((high - low).max()) / (1 - 2 * MARGIN) or max(1.0, float(np.abs(centre).max()))
    corner = centre - side / 2
    square = Square(float(corner[0]), float(corner[1]), side)
    points = np.full((len(places), 2), NOWHERE, np.uint16)
    points[has] = np.clip(np.rint((known - corner) / square.step), 0, LAST)
    points.setflags(write=False)
    return Drawn(square, points)
