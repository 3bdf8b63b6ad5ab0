"""Keep near-duplicates in one split, and certify it. Another package finds them and registers how to look them up."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from labeling.exporting.canonical_text import csv_line, number
from labeling.exporting.options import Options
from labeling.exporting.past import Past, labeled_rows_at
from labeling.exporting.splits import SPLITS
from labeling.models import Dataset, Item, State

COLUMNS = ("item_id", "path", "split", "other_item_id", "other_path", "other_split", "difference", "crossed_before")
# IDs per IN (…), two of each pair.
_BATCH = 450
NOT_RUN = (
    "Near-duplicates were not looked for: run hoshina check_leakage, or start the check on the page Import and export."
)
TURNED_OFF = "The check was turned off by an option."

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class NearDuplicates:
    """Hold the near-duplicates of a dataset, as its last check found them.

    ``pairs`` (m, 2): rows of items, the smaller first, ascending. ``differences`` float32 (m,). ``groups`` (n_rows,):
    the smallest row of each row's group. ``stamps`` (n_rows,): of the content of each image that was compared; 0: not
    compared, as all later rows. ``current_stamps``: returns those of today of ascending rows, 0 where the file is gone.
    ``facts``: how it was done, for the certificate.
    """

    pairs: Rows
    differences: NDArray[np.float32]
    groups: Rows
    stamps: NDArray[np.uint64]
    current_stamps: Callable[[Rows], NDArray[np.uint64]]
    facts: Mapping[str, Any]

    def keys(self, rows: Rows, own: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return a key for each row, (n,), equal within a group: the smallest of their ``own`` (n,)."""
        group = np.where(rows < len(self.groups), self.groups[np.minimum(rows, len(self.groups) - 1)], rows)
        _, place = np.unique(group, return_inverse=True)
        smallest = np.full(place.max(initial=-1) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(smallest, place, own)
        return smallest[place]

    def pairs_among(self, rows: Rows) -> tuple[Rows, NDArray[np.float32]]:
        """Return the pairs with both in the ascending ``rows``, as places in them (m, 2), and their differences."""
        place = np.searchsorted(rows, self.pairs)
        found = (
            (place < len(rows)) & (rows[np.minimum(place, max(0, len(rows) - 1))] == self.pairs)
            if len(rows)
            else (np.zeros(self.pairs.shape, dtype=np.bool_))
        )
        both = found.all(axis=1)
        return place[both], self.differences[both]

    def count_unchecked(self, rows: Rows) -> tuple[int, int]:
        """Return how many of the ascending rows were not compared as they are now, and how many of these changed."""
        old = rows[rows < len(self.stamps)]
        stamps = self.stamps[old]
        compared, stamps = old[stamps != 0], stamps[stamps != 0]
        now = self.current_stamps(compared)
        n_changed = int(np.count_nonzero((now != 0) & (now != stamps)))
        return len(rows) - len(compared) + n_changed, n_changed


# -- Where they come from ----------------------------------------------------------------------------------
LookUp = Callable[[Dataset], NearDuplicates | None]
_look_ups: list[LookUp] = []


def register(look_up: LookUp) -> None:
    """Register the function that returns a dataset's near-duplicates, or None if no check has run."""
    _look_ups[:] = [look_up]


def near_duplicates_of(dataset: Dataset) -> NearDuplicates | None:
    """Return the near-duplicates that the dataset's last check found; None if none has run. Raises StoreError."""
    return _look_ups[0](dataset) if _look_ups else None


# -- Splits that are possible ----------------------------------------------------------------------------
def require_possible(dataset: Dataset, options: Options, past: Past | None) -> None:
    """Raise Refusal if a group of near-duplicates is larger than every split, or leaves one without an image.

    ``past``: the labels of that time count; None for those of today.
    """
    near = near_duplicates_of(dataset) if options.checks_leakage else None
    if near is None or not len(near.pairs):
        return
    rows, group = _grouped_rows(near)
    wanted = sum(share > 0 for share in options.splits)
    n_labeled, is_labeled = dataset.n_labelled, None
    if past is not None:
        labeled_then = labeled_rows_at(dataset, past)
        n_labeled, is_labeled = len(labeled_then), np.isin(rows, labeled_then)
    most = -(-n_labeled * max(options.splits) // 100)
    sizes = np.unique(group, return_counts=True)[1]
    # Only then does it matter which are labeled, which costs a query for some hundred items.
    if sizes.max() <= most and len(rows) - len(sizes) <= n_labeled - wanted:
        return
    labeled = group[_are_labeled(dataset, rows) if is_labeled is None else is_labeled]
    sizes = np.unique(labeled, return_counts=True)[1]
    largest = int(sizes.max(initial=0))
    apart = n_labeled - int(sizes.sum()) + len(sizes)
    if largest > most:
        raise Refusal(
            f"{largest:,} labeled images are near-duplicates of each other, directly or through others. The largest "
            f"split has only {most:,} of {counted(n_labeled, 'labeled image')}.",
            "Clear the labels of some of them, label more images, or turn off the check for near-duplicates.",
        )
    if apart < wanted <= n_labeled:
        raise Refusal(
            f"The labeled images form only {counted(apart, 'group')} without near-duplicates in others, for "
            f"{wanted} splits.",
            "Label more images, ask for fewer splits, or turn off the check for near-duplicates.",
        )


def _grouped_rows(near: NearDuplicates) -> tuple[Rows, Rows]:
    """Return the rows that have a near-duplicate, and their groups."""
    rows = np.unique(near.pairs)
    return rows, near.groups[rows]


def _are_labeled(dataset: Dataset, rows: Rows) -> NDArray[np.bool_]:
    """Return which of the ascending rows are labeled, bool (m,). Reads these or the labeled ones, the fewer of both."""
    items = Item.objects.of(dataset).filter(state=State.LABELLED)
    if dataset.n_labelled < len(rows):
        return np.isin(rows, list(items.values_list("row", flat=True)))
    labeled = np.zeros(len(rows), dtype=np.bool_)
    for start in range(0, len(rows), 2 * _BATCH):
        some = rows[start : start + 2 * _BATCH]
        labeled[start : start + len(some)] = np.isin(
            some, list(items.filter(row__in=some.tolist()).values_list("row", flat=True))
        )
    return labeled


# -- The certificate ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Certificate:
    """Pairs of near-duplicates among the labeled items, and which splits they got.

    ``places`` (m, 2): of the items of each pair among ``item_ids``. ``before``: the splits without the check.
    ``n_unchecked``: labeled items that were not compared as they are now; ``n_changed`` of these were as they were.
    """

    near: NearDuplicates
    item_ids: array[int]
    places: Rows
    differences: NDArray[np.float32]
    splits: NDArray[np.int8]
    before: NDArray[np.int8]
    n_unchecked: int
    n_changed: int

    @property
    def crossed(self) -> NDArray[np.bool_]:
        """Return which pairs were in different splits without the check, bool (m,)."""
        before = self.before[self.places]
        crossed: NDArray[np.bool_] = before[:, 0] != before[:, 1]
        return crossed

    @property
    def n_crossing(self) -> int:
        """Return how many pairs are in different splits now."""
        return int(np.count_nonzero(self.splits[self.places[:, 0]] != self.splits[self.places[:, 1]]))

    def as_manifest(self) -> dict[str, Any]:
        groups = self.near.groups[self.near.pairs[:, 0]]
        return {
            "checked": True,
            **self.near.facts,
            "pairs": len(self.near.pairs),
            "groups": len(np.unique(groups)),
            "labeled": {
                "pairs": len(self.places),
                "crossed_before": int(np.count_nonzero(self.crossed)),
                "crossing": self.n_crossing,
                "not_checked": self.n_unchecked,
                "changed": self.n_changed,
            },
        }

    def lines(self) -> Iterator[bytes]:
        """Yield leakage.csv: the pairs among the labeled items."""
        yield csv_line(COLUMNS).encode()
        for start in range(0, len(self.places), _BATCH):
            yield self._some_lines(slice(start, start + _BATCH)).encode()

    def _some_lines(self, some: slice) -> str:
        places = self.places[some].tolist()
        ids = {self.item_ids[place] for pair in places for place in pair}
        paths = dict(Item.objects.filter(pk__in=ids).values_list("pk", "path"))
        differences, crossed = self.differences[some].tolist(), self.crossed[some].tolist()
        return "".join(
            csv_line((*self._cells(first, paths), *self._cells(second, paths), number(difference), int(had_crossed)))
            for (first, second), difference, had_crossed in zip(places, differences, crossed, strict=True)
        )

    def _cells(self, place: int, paths: Mapping[int, str]) -> Sequence[object]:
        item_id = self.item_ids[place]
        return item_id, paths[item_id], SPLITS[self.splits[place]]


def not_certified(options: Options) -> dict[str, Any]:
    """Return the certificate of an export without a check: why there is none."""
    return {"checked": False, "reason": NOT_RUN if options.checks_leakage else TURNED_OFF}
