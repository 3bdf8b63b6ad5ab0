"""Describe the examples of Similar for its form: thumbnails, their number, and the link back to the queue before."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import QueryDict

from labeling.models import Dataset, Frame, Item
from sampling.queues.registry import STRATEGIES, example_rows

PICTURES = 6


@dataclass(frozen=True)
class Examples:
    """The first frames of the first examples, the number of examples, and the query and title of the queue before."""

    frames: list[Frame]
    n: int
    back: str
    back_title: str

    @property
    def n_more(self) -> int:
        return self.n - len(self.frames)


def examples_of(dataset: Dataset, query: QueryDict) -> Examples:
    """Return the examples in ``to``, without unknown rows, and the queue that ``back`` leads to."""
    named = list(dict.fromkeys(example_rows(query.get("to", ""))))
    existing = set(Item.objects.filter(dataset=dataset, row__in=named).values_list("row", flat=True))
    rows = [row for row in named if row in existing]
    found = Frame.objects.filter(item__dataset=dataset, item__row__in=rows[:PICTURES]).select_related("item")
    frames = {frame.item.row: frame for frame in found.order_by("-pk")}
    back = QueryDict(query.get("back", ""), mutable=True)
    back.setdefault("queue", "auto")
    strategy = STRATEGIES.get(str(back["queue"]), STRATEGIES["auto"])
    return Examples([frames[row] for row in rows if row in frames], len(rows), back.urlencode(), strategy.title)
