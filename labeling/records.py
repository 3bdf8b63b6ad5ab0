"""Writing what an ingest found: items, their frames, which are missing, and problems."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from django.db.models import F, Max

from labeling.images.reading import Examined
from labeling.models import Dataset, Frame, Item, Problem

ROLE = "image"
# What a frame holds of its file, as fill() writes it.
FILLED = ("sha256", "size", "mtime_ns", "width", "height", "format")


def next_row(dataset: Dataset) -> int:
    newest = Item.objects.filter(dataset=dataset).aggregate(newest=Max("row"))["newest"]
    return 0 if newest is None else newest + 1


def insert(dataset: Dataset, new: Sequence[tuple[str, Examined]]) -> None:
    """Make items of new files. Call it with the dataset locked."""
    paths = [path for path, _ in new]
    # A run that was thought dead may have woken and written some meanwhile.
    taken = set(Item.objects.filter(dataset=dataset, path__in=paths).values_list("path", flat=True))
    new = [(path, examined) for path, examined in new if path not in taken]
    if not new:
        return
    rows = itertools.count(next_row(dataset))
    items = Item.objects.bulk_create(
        [Item(dataset_id=dataset.pk, row=row, path=path) for row, (path, _) in zip(rows, new, strict=False)]
    )
    Frame.objects.bulk_create(
        [
            fill(Frame(item_id=item.pk, dataset_id=dataset.pk, role=ROLE, path=path), examined)
            for item, (path, examined) in zip(items, new, strict=True)
        ]
    )
    Dataset.objects.filter(pk=dataset.pk).update(n_items=F("n_items") + len(new))


def update_frames(changed: Sequence[tuple[int, Examined]]) -> None:
    """Write what files hold now, by their frames' keys."""
    frames = [fill(Frame(pk=pk), examined) for pk, examined in changed]
    if frames:
        Frame.objects.bulk_update(frames, FILLED, batch_size=100)


def fill(frame: Frame, examined: Examined) -> Frame:
    frame.sha256, frame.size, frame.mtime_ns = examined.sha256, examined.size, examined.mtime_ns
    frame.width, frame.height, frame.format = examined.width, examined.height, examined.format
    return frame


def set_available(dataset: Dataset, item_ids: Sequence[int], is_available: bool) -> None:
    """Where it is not so already; the dataset's count of missing items follows."""
    if not item_ids:
        return
    n = Item.objects.filter(pk__in=item_ids, is_available=not is_available).update(is_available=is_available)
    Dataset.objects.filter(pk=dataset.pk).update(n_missing=F("n_missing") + (-n if is_available else n))


def write_problems(dataset: Dataset, problems: dict[str, str]) -> None:
    Problem.objects.bulk_create(
        [Problem(dataset=dataset, path=path, reason=reason) for path, reason in problems.items()],
        update_conflicts=True,
        unique_fields=["dataset", "path"],
        update_fields=["reason", "seen_at"],
    )
