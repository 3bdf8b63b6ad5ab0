"""Filter by a region of a map: a polygon that a person drew, or the outline of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.parsing import whole_number
from labeling.models import Dataset
from modeling.models import Projection
from sampling.algorithms.regions import points_in_polygon
from sampling.maps.quantized import LAST, Drawn, Square, drawn_of
from sampling.queues.strategy import BadParameter

Rows = NDArray[np.int64]
Corner = tuple[int, int]
FEWEST_CORNERS, MOST_CORNERS = 3, 300
_CORNERS = re.compile(r"\d{1,5}-\d{1,5}(_\d{1,5}-\d{1,5})*", re.ASCII)


@dataclass(frozen=True)
class Region:
    """A polygon on the map ``map_id``, with its ``corners`` in steps of a square (:mod:`sampling.maps.quantized`).

    ``square`` is the square that the corners refer to, or None in a URL, which refers to the map as it is now. A map
    that grew may be drawn on another square; with its own square, a round's region stays in place.
    """

    map_id: int
    corners: tuple[Corner, ...]
    square: Square | None = None

    @property
    def text(self) -> str:
        """Return the corners as URLs have them."""
        return text_of(self.corners)

    def as_params(self) -> dict[str, Any]:
        """Return the region as parameters of a URL or a round."""
        params = {"map": self.map_id, "region": self.text}
        return params if self.square is None else params | {"square": list(astuple(self.square))}


def text_of(corners: Iterable[Corner]) -> str:
    """Return corners as URLs have them, without characters that need escaping."""
    return "_".join(f"{x}-{y}" for x, y in corners)


def region_from(params: Any) -> Region | None:
    """Return the region in the parameters of a URL or a round, or None. Raises BadParameter if it is invalid."""
    number, text = str(params.get("map") or ""), str(params.get("region") or "")
    if not text:
        return None
    map_id = whole_number(number)
    if map_id is None:
        raise BadParameter("A region needs its map: map= and the map's number.")
    if not _CORNERS.fullmatch(text):
        raise BadParameter("A region is a list of corners, such as 1000-1000_5000-1000_3000-4000.")
    corners = tuple((int(x), int(y)) for x, _, y in (corner.partition("-") for corner in text.split("_")))
    if not FEWEST_CORNERS <= len(corners) <= MOST_CORNERS:
        raise BadParameter(f"A region has {FEWEST_CORNERS} to {MOST_CORNERS} corners, not {len(corners)}.")
    if max(max(corner) for corner in corners) > LAST:
        raise BadParameter(f"The corners of a region lie between 0 and {LAST}.")
    square = params.get("square")
    return Region(map_id, corners, Square(*square) if isinstance(square, list) else None)


def located(dataset: Dataset, region: Region | None) -> Region | None:
    """Return the region with the current square of its map, unless it has one already. Raises Refusal."""
    if region is None or region.square is not None:
        return region
    return replace(region, square=_drawn(dataset, region)[1].square)


def rows_inside(dataset: Dataset, region: Region) -> Rows:
    """Return the rows whose points lie in the region, ascending. Raises Refusal."""
    return _inside(*_drawn(dataset, region), region)


# The tiles, the queue's pane and the next page ask for the same region.
@cached(LRUCache(4), key=lambda projection, drawn, region: (projection.tag, region), lock=Lock())
def _inside(projection: Projection, drawn: Drawn, region: Region) -> Rows:
    corners = np.array(region.corners, np.float64)
    before, now = region.square, drawn.square
    if before is not None and before != now:
        corners = (corners * before.step + [before.x - now.x, before.y - now.y]) / now.step
    inside = points_in_polygon(drawn.points, corners)
    return inside[drawn.has_place()[inside]]


def _drawn(dataset: Dataset, region: Region) -> tuple[Projection, Drawn]:
    projection = Projection.objects.filter(dataset=dataset, pk=region.map_id, generation__gt=0).first()
    if projection is None:
        raise Refusal(
            "Map not found",
            "The map of this region was deleted, or belongs to another dataset. "
            "Choose a region of another map, or show all images.",
        )
    return projection, drawn_of(projection)
