"""Queries over the data of record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from labeling.models import Dataset, Item, LabelClass  # noqa: F401


class DatasetQuerySet(models.QuerySet["Dataset"]):
    """Datasets."""


class LabelClassQuerySet(models.QuerySet["LabelClass"]):
    """Classes of a dataset, in the order of the person's list."""

    def active(self) -> LabelClassQuerySet:
        """Those in use: not merged away or deleted."""
        return self.filter(is_retired=False)


class ItemQuerySet(models.QuerySet["Item"]):
    """Items of a dataset."""

    def of(self, dataset: Dataset) -> ItemQuerySet:
        return self.filter(dataset=dataset)

    def available(self) -> ItemQuerySet:
        """Those whose file is there and can be read."""
        return self.filter(is_available=True)

    def to_label(self) -> ItemQuerySet:
        """Those that a queue may deal: available, and no decision made."""
        return self.available().filter(state=0)

    def changed_since_decision(self) -> ItemQuerySet:
        """Return those whose files changed after the decision that holds; through a partial index."""
        changed = self.filter(content_changed_after__isnull=False, decision_id__lte=models.F("content_changed_after"))
        return changed.exclude(state=0)
