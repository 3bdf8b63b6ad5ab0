"""Compute the size of the images of an export, which determines whether they are included by default."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Sum
from django.template.defaultfilters import filesizeformat

from labeling.models import Dataset, Frame, Item, State

# Images are included by default if they total less than this many bytes.
LIMIT = 10**9
_AT_ONCE = 5000


@dataclass(frozen=True)
class ImagesSize:
    """The size of the labeled items' files in bytes. ``is_total`` is false if counting stopped at ``LIMIT``."""

    bytes: int
    is_total: bool

    @property
    def is_included(self) -> bool:
        """Return whether an export includes the images by default."""
        return self.is_total

    @property
    def text(self) -> str:
        return f"{filesizeformat(self.bytes)} in total" if self.is_total else "1 GB or more in total"


def images_size(dataset: Dataset) -> ImagesSize:
    """Sum the sizes recorded by the last ingest, up to ``LIMIT``. Runs two queries per some thousand items."""
    total, last = 0, -1
    labeled = Item.objects.of(dataset).filter(state=State.LABELLED).order_by("row")
    while rows := list(labeled.filter(row__gt=last).values_list("row", flat=True)[:_AT_ONCE]):
        frames = Frame.objects.filter(
            item__dataset=dataset, item__state=State.LABELLED, item__row__gt=last, item__row__lte=rows[-1]
        )
        total += frames.aggregate(total=Sum("size"))["total"] or 0
        if total >= LIMIT:
            return ImagesSize(total, is_total=False)
        last = rows[-1]
    return ImagesSize(total, is_total=True)
