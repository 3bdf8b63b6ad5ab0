"""Quantize maps for drawing: the coordinates of all rows as 16-bit integers on a square, 4 bytes per point."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from modeling.maps.coordinates import coordinates_of
from modeling.models import Projection

Points = NDArray[np.uint16]
# The largest coordinate, and the coordinate of rows that are not on the map.
LAST, NOWHERE = 65534, 65535
# This share of the square stays empty on each side, so that no point lies on the edge.
MARGIN = 0.02


@dataclass(frozen=True)
class Square:
    """The part of the plane that 0 … LAST covers, from the corner (x, y); y points up."""

    x: float
    y: float
    side: float

    @property
    def step(self) -> float:
        """Return the length of one step of the square in units of the plane."""
        return self.side / LAST


@dataclass(frozen=True)
class Drawn:
    """The points of one generation of a map, uint16 (n_rows, 2), NOWHERE twice for rows that are not on it."""

    square: Square
    points: Points

    def has_place(self) -> NDArray[np.bool_]:
        """Return which rows are on the map, (n_rows,)."""
        has: NDArray[np.bool_] = self.points[:, 0] != NOWHERE
        return has


def drawn_of(projection: Projection) -> Drawn:
    """Return the map's points. O(n) once per process and generation, then cached.

    Raises
    ------
    StoreError : the file of coordinates is missing or damaged.
    """
    places = coordinates_of(projection)  # this may find that the map has grown
    return _drawn(projection, places)


@cached(LRUCache(4), key=lambda projection, places: projection.tag, lock=Lock())
def _drawn(projection: Projection, places: NDArray[np.float32]) -> Drawn:
    return drawn(np.asarray(places))


def drawn(places: NDArray[np.float32]) -> Drawn:
    """Place ``places`` (n, 2) on the smallest square that holds them with a margin; NOWHERE for rows not finite."""
    has = np.isfinite(places).all(axis=1)
    finite = places[has].astype(np.float64)
    low, high = (finite.min(axis=0), finite.max(axis=0)) if len(finite) else (np.zeros(2), np.ones(2))
    centre = (low + high) / 2
    # All points coincide: any square around them will do.
    side = float((high - low).max()) / (1 - 2 * MARGIN) or max(1.0, float(np.abs(centre).max()))
    corner = centre - side / 2
    square = Square(float(corner[0]), float(corner[1]), side)
    points = np.full((len(places), 2), NOWHERE, np.uint16)
    points[has] = np.clip(np.rint((finite - corner) / square.step), 0, LAST)
    points.setflags(write=False)
    return Drawn(square, points)
