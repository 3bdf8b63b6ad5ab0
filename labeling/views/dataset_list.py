"""Add to the list of datasets what shows them at a glance: a cover image, and when someone last worked on them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Max, OuterRef, Subquery

from labeling.models import Action, Dataset, Frame, Item, State


def add_covers(datasets: Iterable[Dataset]) -> None:
    """Set ``cover`` (a frame, or None) and ``last_activity`` (a time, or None) of each dataset, with four queries."""
    by_id = {dataset.pk: dataset for dataset in datasets}
    covers, moments = _covers(by_id), _last_activity(by_id)
    for dataset in by_id.values():
        cover = covers.get(dataset.pk)
        if cover is not None:
            cover.dataset = dataset
        dataset.cover = cover  # type: ignore[attr-defined]
        dataset.last_activity = moments.get(dataset.pk)  # type: ignore[attr-defined]


def _covers(by_id: dict[int, Dataset]) -> dict[int, Frame]:
    """Return the first frame of the first labeled item of each dataset, or of its first item."""
    items = Item.objects.filter(dataset=OuterRef("pk"), is_available=True).order_by("row")
    labeled = items.filter(state=State.LABELLED)
    with_covers = Dataset.objects.filter(pk__in=by_id).annotate(
        labeled=Subquery(labeled.values("pk")[:1]), first=Subquery(items.values("pk")[:1])
    )
    item_ids = {labeled or first for labeled, first in with_covers.values_list("labeled", "first")} - {None}
    frames = Frame.objects.filter(item__in=item_ids).order_by("-id")
    return {frame.dataset_id: frame for frame in frames}


def _last_activity(by_id: dict[int, Dataset]) -> dict[int, datetime]:
    """Return the time of the newest action of each dataset."""
    newest = Action.objects.filter(dataset__in=by_id).order_by().values("dataset").annotate(newest=Max("pk"))
    actions = Action.objects.filter(pk__in=[row["newest"] for row in newest])
    return dict(actions.values_list("dataset", "created_at"))
