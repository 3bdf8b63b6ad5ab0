"""Track items whose content changed after their decision. Ingest marks them, and a newer decision clears the mark.

An item records its newest annotation at the time of the change. It counts as changed as long as its current decision is
not newer. Saving a label therefore needs no additional write, and undoing a confirmation restores the mark.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import F

from hoshina.core.batches import batched
from labeling.models import Dataset, Item

# The queue of a decision that repeats the previous one after the content changed.
CONFIRMATION = "confirmation"
# Pages show exact counts up to this number.
COUNTED_UP_TO = 10_000
_AT_ONCE = 500


def mark_content_changed(item_ids: Collection[int]) -> None:
    """Mark items as changed because the content of their files changed. Items without annotations are skipped."""
    for batch in batched(list(item_ids), _AT_ONCE):
        Item.objects.filter(pk__in=batch, newest_annotation_id__gt=0).update(
            content_changed_after=F("newest_annotation_id")
        )


def count_content_changed(dataset: Dataset) -> int:
    """Return the number of items changed since their decision, at most ``COUNTED_UP_TO`` + 1."""
    changed = Item.objects.of(dataset).changed_since_decision()
    return changed.values("pk")[: COUNTED_UP_TO + 1].count()
