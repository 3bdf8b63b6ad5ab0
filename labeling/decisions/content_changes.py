"""Decisions about content that was replaced since: an ingest marks the items, and a newer decision settles them.

An item remembers its newest annotation at the time of the change. It counts as changed while the decision that holds
is not newer than that, so that saving a label writes nothing more, and an undo of a confirmation brings the item back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from django.db.models import F

from labeling.models import Dataset, Item

# Named as the queue of a decision that repeats the one before about changed content.
CONFIRMATION = "confirmation"
# Pages count no further than this.
COUNTED_UP_TO = 10_000
_AT_ONCE = 500


def mark_content_changed(item_ids: Collection[int]) -> None:
    """Note that the files of these items have other content now. Items that nobody decided about stay as they are."""
    for some in _batches(list(item_ids)):
        Item.objects.filter(pk__in=some, newest_annotation_id__gt=0).update(
            content_changed_after=F("newest_annotation_id")
        )


def count_content_changed(dataset: Dataset) -> int:
    """Return how many items changed since their decision, and no more than one above ``COUNTED_UP_TO``."""
    changed = Item.objects.of(dataset).changed_since_decision()
    return changed.values("pk")[: COUNTED_UP_TO + 1].count()


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
