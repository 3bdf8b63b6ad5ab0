"""Add the coordinates of a map to an export, and to the manifest how they were computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hoshina.core.errors import reason_of
from labeling.exporting import Contribution, Member, Section, register
from labeling.exporting.canonical_text import csv_line, number
from labeling.models import Dataset
from modeling.maps.coordinates import Floats, coordinates_of
from modeling.maps.projections import maps_of
from modeling.models import Projection
from modeling.versions.export import ROW_BYTES, items_by_row


def why_not(dataset: Dataset) -> str:
    """Return why there are no coordinates to export and what to do about it; "" if there are."""
    projection = maps_of(dataset).first()
    if projection is None:
        return "There is no map yet. Compute one on the page Map, or run hoshina project_map."
    return reason_of(lambda: coordinates_of(projection))


def contribute(dataset: Dataset, is_wanted: bool) -> Contribution:
    """Return coordinates.csv of the page's first map, and the manifest's section ``map``, if ``is_wanted``."""
    projection = maps_of(dataset).first() if is_wanted else None
    if projection is None:
        return Contribution()
    places = coordinates_of(projection)
    member = Member("coordinates.csv", coordinate_lines(dataset, places), is_huge=len(places) * ROW_BYTES >= 2**31)
    return Contribution(manifest={"map": _described(projection), "seeds": {"map": projection.seed}}, members=[member])


def _described(projection: Projection) -> dict[str, Any]:
    # The time taken is no property of the map: the same options must give the same bytes.
    quality = {name: value for name, value in projection.quality.items() if name != "seconds"}
    return {
        "name": projection.name,
        "method": projection.method,
        "params": projection.params,
        "seed": projection.seed,
        "points": projection.n_points,
        "placed": projection.n_placed,
        "quality": quality,
        "encoder": projection.embedding_set.fingerprint,
    }


def coordinate_lines(dataset: Dataset, places: Floats) -> Iterator[bytes]:
    """Yield coordinates.csv: every item with a position, labeled or not, by row; ``places`` (n_rows, 2)."""
    yield csv_line(("item_id", "path", "x", "y")).encode()
    for batch in items_by_row(dataset, len(places)):
        rows = np.fromiter((row for row, _, _ in batch), np.int64, count=len(batch))
        yield "".join(
            csv_line((item_id, path, number(x), number(y)))
            for (_, item_id, path), (x, y) in zip(batch, places[rows].tolist(), strict=True)
            if np.isfinite(x)
        ).encode()


register(
    Section(
        name="coordinates",
        title="Positions of all items on the map (coordinates.csv)",
        contribute=contribute,
        why_not=why_not,
        is_rare=True,
        libraries={"scipy": ("scipy",), "scikit-learn": ("scikit-learn",), "numba": ("numba",)},
    )
)
