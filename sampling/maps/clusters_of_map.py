"""The clusters and gaps of a map with what is known of each: how many images, how far labelled, what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hoshina.core.caches import Kept
from labeling.models import Dataset, LabelClass
from labeling.templatetags.item_display import percent
from modeling.models import Projection
from sampling.algorithms.clusters import GAP_SHARE, Corners, clusters, gaps
from sampling.algorithms.regions import points_in_polygon
from sampling.maps.colors import Indexes, NotYet, by_prediction, label_indexes
from sampling.maps.quantized import Drawn, drawn_of
from sampling.maps.region_filter import text_of
from sampling.queues.pool import UNAVAILABLE, Pool

Kind = Literal["cluster", "gap"]
Rows = NDArray[np.int64]
MOST = 60
EXAMPLES = 4
# There are few clusters: one that would have so many labels by chance lacks them, one in twenty by accident.
EXPECTED = 3.0
COVERED = 0.7


@dataclass(frozen=True)
class Part:
    """What an outline on the map encloses. ``rows`` are those of its points, ascending."""

    kind: Kind
    number: int
    corners: Corners
    rows: Rows
    centre: tuple[int, int]
    examples: tuple[int, ...]

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def region(self) -> str:
        """As an address has it (:mod:`sampling.maps.region_filter`)."""
        return text_of([(int(x), int(y)) for x, y in self.corners])


@dataclass(frozen=True)
class Told:
    """A part and what is known of it now."""

    part: Part
    n: int
    n_labelled: int
    # The class of most of its labels, or of most of its predictions while it has none; and of how many.
    leading: LabelClass | None
    leading_share: float
    is_predicted: bool
    # Far fewer labels than the rest of the map, though enough images to have some.
    is_gap: bool

    @property
    def name(self) -> str:
        return f"{'Gap' if self.part.kind == 'gap' else 'Cluster'} {self.part.number}"

    @property
    def labelled(self) -> str:
        """How far it is labelled, in words."""
        if not self.n_labelled:
            return "no labels"
        return f"{percent(self.n_labelled / max(1, self.n))} labelled"

    @property
    def what(self) -> str:
        """What its images are, in words; "" where nothing says so."""
        if self.leading is None:
            return ""
        return f"{percent(self.leading_share)} {'predicted ' if self.is_predicted else ''}{self.leading.name}"


kept: Kept[list[Part]] = Kept(8)


def parts_of(projection: Projection, pool: Pool) -> list[Part]:
    """The map's clusters and gaps, the largest first of each; O(n), kept until the map or a label changes.

    Raises
    ------
    StoreError : the file of coordinates is gone or damaged.
    """
    drawn = drawn_of(projection)
    place = (projection.pk, projection.generation)
    found = kept.once((*place, "cluster"), lambda: _parts("cluster", clusters(_placed(drawn)), drawn))
    states = _states(pool, len(drawn.points))
    key = (*place, "gap", pool.newest_annotation_id, pool.n_missing)
    return [*found, *kept.once(key, lambda: _parts("gap", _gaps(drawn, states), drawn))]


def told_of(dataset: Dataset, parts: list[Part], pool: Pool) -> list[Told]:
    """What is known of each of ``parts``; a fixed number of queries."""
    classes = list(LabelClass.objects.active().filter(dataset=dataset))
    labels = label_indexes(classes, pool.labels)
    try:
        predicted = by_prediction(dataset, classes, pool).indexes
    except NotYet:
        predicted = np.zeros(len(labels), np.uint8)
    there = pool.states[pool.states != UNAVAILABLE]
    share = float(np.count_nonzero(there) / max(1, len(there)))
    told = [_told(part, classes, labels, predicted, pool, share) for part in parts]
    return _without_doubles(told)


def _without_doubles(told: list[Told]) -> list[Told]:
    """Without gaps that lie in a cluster that is told as a gap itself."""
    empty = [one.part.rows for one in told if one.part.kind == "cluster" and one.is_gap]
    covered = np.concatenate(empty) if empty else np.empty(0, np.int64)
    return [one for one in told if one.part.kind == "cluster" or np.isin(one.part.rows, covered).mean() < COVERED]


def _told(part: Part, classes: list[LabelClass], labels: Indexes, predicted: Indexes, pool: Pool, share: float) -> Told:
    rows = part.rows[part.rows < len(pool.states)]
    rows = rows[pool.states[rows] != UNAVAILABLE]
    n_labelled = int(np.count_nonzero(pool.states[rows]))
    is_predicted = not labels[rows].any()
    leading, leading_share = _leading((predicted if is_predicted else labels)[rows], classes)
    expected = share * len(rows)
    is_gap = part.kind == "gap" or (expected >= EXPECTED and n_labelled <= GAP_SHARE * expected)
    return Told(part, len(rows), n_labelled, leading, leading_share, is_predicted, is_gap)


def _leading(indexes: Indexes, classes: list[LabelClass]) -> tuple[LabelClass | None, float]:
    """The class that most have, and its share of those that have one."""
    counts = np.bincount(indexes[indexes > 0], minlength=2)
    best = int(np.argmax(counts))
    if not counts[best] or best > len(classes):
        return None, 0.0
    return classes[best - 1], float(counts[best] / counts.sum())


# -- Parts ----------------------------------------------------------------------------------------
def _placed(drawn: Drawn) -> NDArray[np.uint16]:
    has = drawn.has_place()
    return drawn.points if has.all() else drawn.points[has]


def _states(pool: Pool, n: int) -> NDArray[np.uint8]:
    """State by row of the map; a map may be older than the pool, and a file of it newer than the counts."""
    states = np.full(n, UNAVAILABLE, np.uint8)
    known = min(n, len(pool.states))
    states[:known] = pool.states[:known]
    return states


def _gaps(drawn: Drawn, states: NDArray[np.uint8]) -> list[Corners]:
    there = drawn.has_place() & (states != UNAVAILABLE)
    return gaps(drawn.points[there], states[there] != 0)


def _parts(kind: Kind, outlines: list[Corners], drawn: Drawn) -> list[Part]:
    parts = []
    for number, corners in enumerate(outlines[:MOST], start=1):
        rows = points_in_polygon(drawn.points, corners.astype(np.float64))
        if not len(rows):
            continue
        places = drawn.points[rows].astype(np.float64)
        centre = places.mean(axis=0)
        x, y = np.rint(centre).astype(int).tolist()
        parts.append(Part(kind, number, corners, rows, (x, y), _examples(rows, places, centre)))
    return parts


def _examples(rows: Rows, places: NDArray[np.float64], centre: NDArray[np.float64]) -> tuple[int, ...]:
    """Rows from the middle of a part outwards: what it is, and how far that goes."""
    order = np.argsort(((places - centre) ** 2).sum(axis=1), kind="stable")
    at = np.unique((np.linspace(0, 0.9, EXAMPLES) * (len(rows) - 1)).astype(int))
    return tuple(rows[order[at]].tolist())
