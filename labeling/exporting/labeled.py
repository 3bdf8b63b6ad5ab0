"""Collect the labeled items of an export and assign their splits, with about 40 bytes per item in memory."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.exporting.near_duplicates import Certificate, NearDuplicates, not_certified
from labeling.exporting.options import Options
from labeling.exporting.past import Past
from labeling.exporting.past_classes import classes_at
from labeling.exporting.rows import LabelRow, decided_items
from labeling.exporting.splits import SPLITS, Files, assign_splits, joined
from labeling.fields.split_groups import Groups, chosen
from labeling.models import Dataset, LabelClass

# Stand for unsure and skipped images where a layout contains them. No class has these IDs.
UNSURE_ID, SKIPPED_ID = -1, -2
UNDECIDED = {UNSURE_ID: "unsure", SKIPPED_ID: "skipped"}


class Classes(dict[int, LabelClass]):
    """Hold the classes at the start of the export by ID, and those that were first used while it ran."""

    def __missing__(self, pk: int) -> LabelClass:
        self[pk] = LabelClass.objects.get(pk=pk)
        return self[pk]

    @classmethod
    def of(cls, dataset: Dataset, past: Past | None = None) -> Classes:
        """Return the classes in use. At an earlier time: also retired ones, until :meth:`drop_unused`."""
        labels = classes_at(dataset, past)
        return cls({pk: label for pk, label in labels.items() if past or not label.is_retired})

    def drop_unused(self, used: Iterable[int]) -> None:
        """Remove the retired classes, all but those that were used at the time of the export."""
        used = set(used)
        for pk in [pk for pk, label in self.items() if label.is_retired and pk not in used]:
            del self[pk]

    def by_name(self) -> list[LabelClass]:
        """Return the classes in the order that decides the splits and the class numbers."""
        return sorted(self.values(), key=lambda label: (label.name, label.pk))


class Labeled:
    """Hold the labeled items by row. ``splits`` and ``classes`` are empty until :meth:`assign`."""

    def __init__(self, options: Options, groups: Groups | None, near: NearDuplicates | None = None) -> None:
        self._options = options
        self._groups = groups
        self._near = near
        self.certificate: Certificate | None = None
        self._files = Files(options.seed)
        self.item_ids, self.rows, self.class_ids = array("q"), array("q"), array("q")
        self.splits: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self.largest_group = 0
        self.classes: list[LabelClass] = []

    def add(self, row: LabelRow, label_id: int) -> None:
        """Add the next item, with its class."""
        self.item_ids.append(row.item_id)
        self.rows.append(row.row)
        self.class_ids.append(label_id)
        self._files.add(row.files or (f"path:{row.path}",))

    def assign(self, classes: Classes) -> None:
        """Assign the splits, when all items are added. ``classes``: those of the items among others."""
        self.classes = classes.by_name()
        ordinal = {label.pk: position for position, label in enumerate(self.classes)}
        classes_of_items = np.fromiter((ordinal[pk] for pk in self.class_ids), np.int64, count=len(self.class_ids))
        keys = self._joined_keys()
        self.splits = assign_splits(keys, classes_of_items, proportions=self._options.splits)
        if self._near is not None:
            before, rows = self.splits, np.asarray(self.rows, dtype=np.int64)
            keys = joined([keys, self._near.keys(rows, keys)])
            self.splits = assign_splits(keys, classes_of_items, proportions=self._options.splits)
            self.certificate = self._certified(self._near, rows, before)
        self.largest_group = int(np.unique(keys, return_counts=True)[1].max(initial=0))

    def _certified(self, near: NearDuplicates, rows: NDArray[np.int64], before: NDArray[np.int8]) -> Certificate:
        places, differences = near.pairs_among(rows)
        return Certificate(near, self.item_ids, places, differences, self.splits, before, *near.count_unchecked(rows))

    def leakage(self) -> dict[str, Any]:
        """Return the certificate of the splits, for the manifest."""
        return not_certified(self._options) if self.certificate is None else self.certificate.as_manifest()

    def _joined_keys(self) -> NDArray[np.uint64]:
        """Return keys (n,) that are equal for items that must share a split: those of the same file or group."""
        keys = self._files.keys()
        if self._groups is not None:
            keys.append(self._groups.keys(self.rows, keys[0], self._options.seed))
        return joined(keys)

    def split_counts(self, classes: Classes) -> dict[str, Any]:
        """Return the number of items of each split and class, for the manifest."""
        table: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for place, class_id in enumerate(self.class_ids):
            table[SPLITS[self.splits[place]]][classes[class_id].name] += 1
        return {split: {"items": per_class.total(), "classes": dict(per_class)} for split, per_class in table.items()}


def splits_without_check(dataset: Dataset) -> dict[int, str]:
    """Return the split of each labeled row in an export with default options, but without the check of near-duplicates.

    Reads all labels.
    """
    field = chosen(dataset)
    labeled = Labeled(Options(checks_leakage=False), Groups(field) if field else None)
    for batch in decided_items(dataset):
        for row in batch:
            if row.label_id is not None:
                labeled.add(row, row.label_id)
    labeled.assign(Classes.of(dataset))
    return {row: SPLITS[split] for row, split in zip(labeled.rows, labeled.splits, strict=True)}
