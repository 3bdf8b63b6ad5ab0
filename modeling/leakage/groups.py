"""Read the groups of near-duplicates for their page: those with different labels first, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hoshina.core.parsing import whole_number
from labeling.exporting.labeled import splits_without_check
from labeling.exporting.near_duplicates import NearDuplicates
from labeling.guide.guides import first_frames
from labeling.models import Dataset, Frame, Item, LabelClass, State

Rows = NDArray[np.int64]
ON_PAGE = 50
# Pictures that a group shows; labels of all its images are compared.
SHOWN = 24
# Images per IN (…), and how many are looked through for different labels by one request.
_BATCH, SCANNED = 900, 45_000
# With more labels than this, it takes too long to find out which splits the images would get without the check.
SPLITS_UP_TO = 5_000


@dataclass(frozen=True)
class Copy:
    """Represent an image of a group. ``similarity`` to the most similar other one: the correlation when aligned.

    ``split``: which one it would get without the check; "" if it has no label or that is not known. ``has_changed``:
    its file is no longer the one that was compared.
    """

    frame: Frame
    label: LabelClass | None
    similarity: float
    split: str
    has_changed: bool


@dataclass(frozen=True)
class Group:
    """Represent a group of copies. ``number``: its smallest row; ``copies``: at most SHOWN of its ``n_images``."""

    number: int
    n_images: int
    n_labeled: int
    least: float
    labels: list[LabelClass] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)

    @property
    def n_hidden(self) -> int:
        """Return how many of its images are not shown."""
        return self.n_images - len(self.copies)


@dataclass(frozen=True)
class Place:
    """Say where a page begins: after a group, among those with different labels or among the others."""

    with_different_labels: bool = True
    after: int = -1

    @classmethod
    def parse(cls, text: str) -> Place:
        """Parse ``d12`` or ``o12``, or ``o`` for the first of the others; anything else is the beginning."""
        if text == "o":
            return cls(with_different_labels=False)
        number = whole_number(text[1:])
        return cls(text[:1] == "d", number) if text[:1] in {"d", "o"} and number is not None else cls()

    def __str__(self) -> str:
        return f"{'d' if self.with_different_labels else 'o'}{self.after}"


@dataclass(frozen=True)
class Page:
    """Hold a page of groups: those with different labels, the others, and where the next page begins, if any."""

    different: list[Group]
    others: list[Group]
    following: Place | None


def page_of(dataset: Dataset, near: NearDuplicates, place: Place) -> Page:
    """Return the page that begins at ``place``. Reads at most SCANNED labels, and what it shows."""
    groups = _Groups(dataset, near)
    different: list[int] = []
    others: list[int] = []
    following: Place | None = None
    if place.with_different_labels:
        for number, is_different in groups.compared(after=place.after, most=SCANNED):
            if is_different and len(different) == ON_PAGE:
                following = Place(True, different[-1])
                break
            different += [number] if is_different else []
        else:
            if groups.last_compared < groups.last:
                following = Place(True, groups.last_compared)
    if following is None:
        after = -1 if place.with_different_labels else place.after
        for number, is_different in groups.compared(after=after, most=SCANNED):
            if is_different:
                continue
            if len(different) + len(others) == ON_PAGE:
                following = Place(False, others[-1] if others else after)
                break
            others.append(number)
        else:
            if groups.last_compared < groups.last:
                following = Place(False, groups.last_compared)
    shown = groups.read([*different, *others])
    return Page([shown[number] for number in different], [shown[number] for number in others], following)


class _Groups:
    """Hold the rows of near-duplicates by group."""

    def __init__(self, dataset: Dataset, near: NearDuplicates) -> None:
        self._dataset, self._near = dataset, near
        rows = np.unique(near.pairs)
        self._rows = rows[np.argsort(near.groups[rows], kind="stable")]
        self._numbers, starts = np.unique(near.groups[self._rows], return_index=True)
        self._bounds = np.append(starts, len(rows))
        self.last = int(self._numbers[-1]) if len(self._numbers) else -1
        self.last_compared = -1

    def compared(self, *, after: int, most: int) -> Iterator[tuple[int, bool]]:
        """Yield the next groups in order, and whether their images have different labels, for about ``most`` images."""
        first = int(np.searchsorted(self._numbers, after, side="right"))
        self.last_compared = after
        n_read = 0
        while first < len(self._numbers) and n_read < most:
            stop = max(first + 1, int(np.searchsorted(self._bounds, self._bounds[first] + _BATCH, side="right")) - 1)
            labels = self._labels_of(self._rows[self._bounds[first] : self._bounds[stop]])
            n_read += int(self._bounds[stop] - self._bounds[first])
            for place in range(first, stop):
                found = {labels[row] for row in self._rows_at(place) if row in labels}
                self.last_compared = int(self._numbers[place])
                yield self.last_compared, len(found) > 1
            first = stop

    def _rows_at(self, place: int) -> list[int]:
        rows: list[int] = self._rows[self._bounds[place] : self._bounds[place + 1]].tolist()
        return rows

    def _labels_of(self, rows: Rows) -> dict[int, int]:
        """Return the class of those of ``rows`` that are labeled."""
        items = Item.objects.of(self._dataset).filter(state=State.LABELLED)
        labels: dict[int, int] = {}
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH].tolist()
            labels.update(items.filter(row__in=some).values_list("row", "label_id"))
        return labels

    def read(self, numbers: list[int]) -> dict[int, Group]:
        """Return the groups of these numbers, with their pictures."""
        rows_of = {number: self._rows_at(int(np.searchsorted(self._numbers, number))) for number in numbers}
        labels = self._labels_of(np.array([row for rows in rows_of.values() for row in rows], np.int64))
        shown_of = {number: _shown(rows, labels) for number, rows in rows_of.items()}
        rows = np.sort(np.array([row for shown in shown_of.values() for row in shown], np.int64))
        reader = _Reader(self._dataset, self._near, rows, labels)
        return {number: reader.group(number, rows_of[number], shown_of[number]) for number in numbers}


def _shown(rows: list[int], labels: Mapping[int, int]) -> list[int]:
    """Return the rows that a group shows: of a large one, the first of each label, then the first ones."""
    if len(rows) <= SHOWN:
        return rows
    first_of = {labels[row]: row for row in reversed(rows) if row in labels}
    chosen = [*dict.fromkeys([*sorted(first_of.values()), *rows])][:SHOWN]
    return sorted(chosen)


class _Reader:
    """Read what the page shows of the images of all its groups, by row."""

    def __init__(self, dataset: Dataset, near: NearDuplicates, rows: Rows, labels: Mapping[int, int]) -> None:
        self._labels = labels
        self._classes = LabelClass.objects.filter(dataset=dataset).in_bulk()
        ids: list[int] = []
        for start in range(0, len(rows), _BATCH):
            items = Item.objects.of(dataset).filter(row__in=rows[start : start + _BATCH].tolist())
            ids += items.values_list("pk", flat=True)
        self._frames = {
            frame.item.row: frame
            for start in range(0, len(ids), _BATCH)
            for frame in first_frames(dataset, ids[start : start + _BATCH])
        }
        self._similarities = _similarities(near)
        changed = (now := near.current_stamps(rows)) != near.stamps[rows]
        self._changed = set(rows[changed & (now != 0)].tolist())
        self._splits = splits_without_check(dataset) if dataset.n_labelled <= SPLITS_UP_TO else {}

    def group(self, number: int, rows: list[int], shown: list[int]) -> Group:
        labeled = [row for row in rows if row in self._labels]
        labels = {self._classes[self._labels[row]].name: self._classes[self._labels[row]] for row in labeled}
        splits = list(dict.fromkeys(self._splits[row] for row in labeled if row in self._splits))
        least = float(self._similarities[rows].min())
        copies = [self._copy(row) for row in shown if row in self._frames]
        return Group(number, len(rows), len(labeled), least, list(labels.values()), splits, copies)

    def _copy(self, row: int) -> Copy:
        label = self._classes[self._labels[row]] if row in self._labels else None
        split = self._splits.get(row, "") if label else ""
        return Copy(self._frames[row], label, float(self._similarities[row]), split, row in self._changed)


def _similarities(near: NearDuplicates) -> NDArray[np.float32]:
    """Return the similarity of each row to the most similar other one, (n_rows,); 0 for rows without one."""
    similarities = np.zeros(len(near.groups), np.float32)
    for column in (0, 1):
        np.maximum.at(similarities, near.pairs[:, column], 1 - near.differences)
    return similarities
