"""Describe the examples of Similar for its form: thumbnails, their number, and the link back to the queue before."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import QueryDict

from hoshina.core.parsing import whole_number
from labeling.models import Dataset, Frame, Item, LabelClass
from sampling.queues.outside_examples import names_in
from sampling.queues.registry import STRATEGIES
from sampling.queues.similar import example_rows

PICTURES = 6


@dataclass(frozen=True)
class Examples:
    """The first frames of the first examples, the number of examples, and the query and title of the queue before.

    ``outside`` names the examples from outside the dataset; ``label`` is the class whose labels are examples. If it
    ``is_contrasted``, there are counterexamples, and scores are no similarities.
    """

    to: str
    frames: list[Frame]
    n: int
    outside: list[str]
    label: LabelClass | None
    is_contrasted: bool
    back: str
    back_title: str

    @property
    def hidden(self) -> dict[str, str]:
        """Return the parameters that the form keeps as they are."""
        of = str(self.label.pk) if self.label else ""
        return {"to": self.to, "file": ",".join(self.outside), "of": of, "back": self.back}

    @property
    def n_more(self) -> int:
        return self.n - len(self.frames) - len(self.outside)


def examples_of(dataset: Dataset, query: QueryDict) -> Examples:
    """Return the examples in ``to``, without unknown rows, and the queue that ``back`` leads to."""
    named = list(dict.fromkeys(example_rows(query.get("to", ""))))
    existing = set(Item.objects.filter(dataset=dataset, row__in=named).values_list("row", flat=True))
    rows = [row for row in named if row in existing]
    found = Frame.objects.filter(item__dataset=dataset, item__row__in=rows[:PICTURES]).select_related("item")
    frames = {frame.item.row: frame for frame in found.order_by("-pk")}
    outside = names_in(query.get("file", ""))
    label = LabelClass.objects.active().filter(dataset=dataset, pk=whole_number(query.get("of")) or 0).first()
    back = QueryDict(query.get("back", ""), mutable=True)
    back.setdefault("queue", "auto")
    strategy = STRATEGIES.get(str(back["queue"]), STRATEGIES["auto"])
    is_contrasted = label is not None or query.get("avoid", "nothing") != "nothing"
    shown = [frames[row] for row in rows if row in frames]
    n, title = len(rows) + len(outside), strategy.title
    return Examples(query.get("to", ""), shown, n, outside, label, is_contrasted, back.urlencode(), title)
