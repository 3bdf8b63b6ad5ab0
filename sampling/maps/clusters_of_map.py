"""Find the clusters and gaps of a map and describe each: how many images, how many labeled, of which class."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Literal

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from labeling.models import Dataset, LabelClass
from modeling.models import Projection
from sampling.algorithms.clusters import GAP_SHARE, Corners, gaps
from sampling.algorithms.regions import points_in_polygon
from sampling.algorithms.subclusters import divided_clusters
from sampling.maps.colors import Indexes, by_prediction, for_pool, label_indexes
from sampling.maps.quantized import LAST, Drawn, drawn_of
from sampling.maps.region_filter import text_of
from sampling.queues.pool import UNAVAILABLE, Pool

Kind = Literal["cluster", "gap"]
Rows = NDArray[np.int64]
MOST = 60
EXAMPLES = 4
# A cluster with at least this many expected labels counts as a gap if it has far fewer; chance alone marks one in 20.
EXPECTED = 3.0
COVERED = 0.7
# Fewer labels do not say what a cluster is.
FEWEST_LABELS = 5


@dataclass(frozen=True)
class Part:
    """The area within an outline on the map. ``rows`` are those of its points, ascending."""

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
        """Return the outline as URLs have it (:mod:`sampling.maps.region_filter`), without what is beyond the map."""
        return text_of([(int(x), int(y)) for x, y in np.clip(self.corners, 0, LAST)])


@dataclass(frozen=True)
class Summary:
    """A cluster or gap with its current numbers."""

    part: Part
    n: int
    n_labelled: int
    # The class of most of its labels (of most of its predictions if it has no labels), the number of images of that
    # class, and the number of images with a label (a prediction) of any class.
    leading: LabelClass | None
    n_leading: int
    n_classed: int
    is_predicted: bool
    # It has far fewer labels than the rest of the map, although enough images to expect some.
    is_gap: bool

    @property
    def name(self) -> str:
        return f"{'Gap' if self.part.kind == 'gap' else 'Cluster'} {self.part.number}"

    @property
    def labelled(self) -> str:
        """Return the number of labeled images as text. A share of few images would overstate what is known."""
        return f"{self.n_labelled:,} labeled" if self.n_labelled else "no labels"

    @property
    def what(self) -> str:
        """Return the leading class and :attr:`evidence` as text; "" if there is no class."""
        return f"{self.leading.name}, {self.evidence}" if self.leading else ""

    @property
    def evidence(self) -> str:
        """Return how many of the labels (or predictions) are of the leading class; "" if there is no class."""
        if self.leading is None:
            return ""
        total = f"{self.n_classed:,} predicted" if self.is_predicted else counted(self.n_classed, "label")
        return f"{self.n_leading:,} of {total}{self.doubt}"

    @property
    def doubt(self) -> str:
        """Return a remark if there are too few labels to say what the cluster is; "" if there are enough."""
        is_few = not self.is_predicted and self.n_classed < min(FEWEST_LABELS, self.n)
        return " (too few to tell)" if is_few else ""


def parts_of(projection: Projection, pool: Pool) -> list[Part]:
    """Return the map's clusters and gaps, each largest first; O(n), cached until the map or a label changes.

    Raises
    ------
    StoreError : the file of coordinates is missing or damaged.
    """
    drawn = drawn_of(projection)
    return [*_clusters(projection, drawn), *_gaps(projection, drawn, pool)]


def summaries_of(dataset: Dataset, parts: list[Part], pool: Pool) -> list[Summary]:
    """Return the current numbers of each of ``parts``, with a fixed number of queries."""
    classes = list(LabelClass.objects.active().filter(dataset=dataset))
    labels = label_indexes(classes, pool.labels)
    try:
        predicted = for_pool(by_prediction(dataset, classes, pool).indexes, pool)
    except Refusal:
        predicted = np.zeros(len(labels), np.uint8)
    there = pool.states[pool.states != UNAVAILABLE]
    share = float(np.count_nonzero(there) / max(1, len(there)))
    summaries = [_summary(part, classes, labels, predicted, pool, share) for part in parts]
    # Gaps within a cluster that is marked as a gap itself are left out.
    empty = [summary.part.rows for summary in summaries if summary.part.kind == "cluster" and summary.is_gap]
    covered = np.concatenate([np.empty(0, np.int64), *empty])
    return [
        summary
        for summary in summaries
        if summary.part.kind == "cluster" or np.isin(summary.part.rows, covered).mean() < COVERED
    ]


def _summary(
    part: Part, classes: list[LabelClass], labels: Indexes, predicted: Indexes, pool: Pool, share: float
) -> Summary:
    rows = part.rows[part.rows < len(pool.states)]
    rows = rows[pool.states[rows] != UNAVAILABLE]
    n_labelled = int(np.count_nonzero(pool.states[rows]))
    is_predicted = not labels[rows].any()
    leading, n_leading, n_classed = _leading((predicted if is_predicted else labels)[rows], classes)
    expected = share * len(rows)
    is_gap = part.kind == "gap" or (expected >= EXPECTED and n_labelled <= GAP_SHARE * expected)
    return Summary(part, len(rows), n_labelled, leading, n_leading, n_classed, is_predicted, is_gap)


def _leading(indexes: Indexes, classes: list[LabelClass]) -> tuple[LabelClass | None, int, int]:
    """Return the most frequent class, its number of points, and the number of points that have a class."""
    counts = np.bincount(indexes[indexes > 0], minlength=2)
    best = int(np.argmax(counts))
    if not counts[best] or best > len(classes):
        return None, 0, 0
    return classes[best - 1], int(counts[best]), int(counts.sum())


# -- Parts ----------------------------------------------------------------------------------------
def _placed(drawn: Drawn) -> NDArray[np.uint16]:
    has = drawn.has_place()
    return drawn.points if has.all() else drawn.points[has]


def _states(pool: Pool, n: int) -> NDArray[np.uint8]:
    """Return the state of each row of the map, which may be older than the pool or have rows that the pool lacks."""
    states = np.full(n, UNAVAILABLE, np.uint8)
    shared = min(n, len(pool.states))
    states[:shared] = pool.states[:shared]
    return states


@cached(LRUCache(4), key=lambda projection, drawn: projection.tag, lock=Lock())
def _clusters(projection: Projection, drawn: Drawn) -> list[Part]:
    return _parts("cluster", divided_clusters(_placed(drawn)), drawn)


def _gaps_key(projection: Projection, drawn: Drawn, pool: Pool) -> tuple[object, ...]:
    return projection.tag, pool.newest_annotation_id, pool.n_missing


@cached(LRUCache(4), key=_gaps_key, lock=Lock())
def _gaps(projection: Projection, drawn: Drawn, pool: Pool) -> list[Part]:
    states = _states(pool, len(drawn.points))
    there = drawn.has_place() & (states != UNAVAILABLE)
    return _parts("gap", gaps(drawn.points[there], states[there] != 0), drawn)


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
    """Return example rows, from the center of a part outwards."""
    order = np.argsort(((places - centre) ** 2).sum(axis=1), kind="stable")
    at = np.unique((np.linspace(0, 0.9, EXAMPLES) * (len(rows) - 1)).astype(int))
    return tuple(rows[order[at]].tolist())
