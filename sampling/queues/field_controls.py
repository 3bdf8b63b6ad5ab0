"""Build the controls with which a person filters by fields: the distribution of the values and what is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from django.conf import settings
from django.http import QueryDict

from hoshina.core.parsing import options_of
from hoshina.core.storage import StoreError
from labeling.fields import column_of
from labeling.fields.parse_values import number_text, time_text
from labeling.models import Dataset, Field
from sampling.queues.field_filter import PREFIX, UNKNOWN, Condition, conditions_from, range_of, value_of
from sampling.queues.sort import AllParams
from sampling.queues.strategy import BadParameter

BARS, CHOICES = 40, 8


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: its height in percent of the tallest, its text, and whether it is in the chosen range."""

    height: float
    tooltip: str
    is_inside: bool


@dataclass(frozen=True)
class Choice:
    """A value of a text field: as in the URL and as people read it, its number of items, and whether it is chosen."""

    value: str
    text: str
    n: int | None
    is_chosen: bool


@dataclass(frozen=True)
class Control:
    """The control of one field.

    ``low`` and ``high`` are the ends of the requested range, ``least`` and ``most`` those of all values; ``others`` are
    requested values that the control cannot show.
    """

    field: Field
    n_unknown: int
    is_unknown_chosen: bool = False
    low: str = ""
    high: str = ""
    least: str = ""
    most: str = ""
    bars: Sequence[Bar] = ()
    choices: Sequence[Choice] = ()
    n_more_choices: int = 0
    others: Sequence[str] = ()
    problem: str = ""

    @property
    def param(self) -> str:
        """Return the field's name in URLs."""
        return PREFIX + self.field.name

    @property
    def chosen_range(self) -> str:
        return f"{self.low}..{self.high}" if self.low or self.high else ""


def fields_form(dataset: Dataset, query: QueryDict, queue: str) -> dict[str, Any] | None:
    """Return the context of the form's section on fields, or None without fields. Takes one query for any dataset."""
    fields = list(Field.objects.filter(dataset=dataset))
    if not fields:
        return None
    try:
        conditions = {condition.name.lower(): condition for condition in conditions_from(query)}
    except BadParameter:
        conditions = {}  # the grid reports the error
    used = [field for field in fields if field.name.lower() in conditions]
    return {
        "controls": [control_of(dataset, field, conditions.pop(field.name.lower())) for field in used],
        # Conditions on deleted fields: they stay until the person removes them.
        "lost": list(conditions.values()),
        "unused": [field for field in fields if field not in used],
        "sort": _sort_form(fields, query) if queue == "all" else None,
    }


def _sort_form(fields: list[Field], query: QueryDict) -> dict[str, Any]:
    return {
        "names": [field.name for field in fields],
        "chosen": query.get("sort", ""),
        "orders": options_of(AllParams)["order"].choices,
        "order": query.get("order", AllParams().order),
    }


def control_of(dataset: Dataset, field: Field, condition: Condition | None = None) -> Control:
    """Return the control of a field, with the values that the URL's condition names."""
    values = list(condition.values) if condition else []
    control = Control(field, max(0, dataset.n_items - field.n_known), UNKNOWN in values)
    values = [value for value in values if value != UNKNOWN]
    try:
        spread = _spread(field, field.generation, str(settings.STORE_DIR))
    except StoreError as damaged:
        return replace(control, others=values, problem=damaged.message)
    return _of_text(control, values, spread) if isinstance(spread, _Texts) else _of_range(control, values, spread)


def _of_text(control: Control, values: list[str], spread: _Texts) -> Control:
    frequent = {value: (text, n) for value, text, n in spread.top}
    entries = [Choice(value, text, n, value in values) for value, (text, n) in frequent.items()]
    entries += [Choice(value, value.removeprefix("="), None, True) for value in values if value not in frequent]
    return replace(control, choices=entries, n_more_choices=spread.n - len(spread.top))


def _of_range(control: Control, values: list[str], spread: _Numbers) -> Control:
    ranges, problem = [], ""
    for value in values:
        try:
            ranges.append(range_of(control.field.kind, control.field.name, value))
        except BadParameter as error:
            problem = str(error)
    low, dots, high = values[0].partition("..") if values else ("", "", "")
    tallest = np.sqrt(max(spread.counts, default=1) or 1)
    bars = [
        # The square root keeps a small tail visible beside a large peak.
        Bar(
            round(100 * float(np.sqrt(n) / tallest), 1),
            f"{spread.text(start)} to {spread.text(stop)}: {n:,}",
            any(first <= stop and start <= last for first, last in ranges),
        )
        for n, start, stop in zip(spread.counts, spread.edges, spread.edges[1:], strict=False)
    ]
    least, most = (spread.text(spread.edges[end]) if bars else "" for end in (0, -1))
    high = high if dots else low
    return replace(control, low=low, high=high, least=least, most=most, bars=bars, others=values[1:], problem=problem)


@dataclass(frozen=True)
class _Texts:
    """The most frequent values of a text field, each with its form in URLs and its count.

    ``n`` is the number of distinct values.
    """

    top: list[tuple[str, str, int]]
    n: int


@dataclass(frozen=True)
class _Numbers:
    """The histogram of a field of numbers or times; empty if the field has no values."""

    kind: str
    counts: list[int]
    edges: list[float]

    def text(self, value: float) -> str:
        """Format the edge of a bar with no more digits than needed."""
        if self.kind == Field.Kind.TIME:
            return time_text(round(value))[:16].replace("T", " ")
        return number_text(float(f"{value:.4g}"))


@lru_cache(maxsize=128)
def _spread(field: Field, generation: int, store: str) -> _Texts | _Numbers:
    """Return the distribution of a field's values over all items; cached for each generation. O(n)."""
    column = column_of(field)
    values = column.values[column.known()]
    if column.is_text:
        counts = np.bincount(values.astype(np.int64), minlength=len(column.vocabulary))
        order = np.lexsort((np.arange(len(counts)), -counts))[:CHOICES].tolist()
        entries = [(column.vocabulary[code], int(counts[code])) for code in order]
        return _Texts([(value_of(word), word, n) for word, n in entries], len(counts))
    if not len(values):
        return _Numbers(field.kind, [], [])
    counts, edges = np.histogram(values, bins=BARS)
    return _Numbers(field.kind, counts.tolist(), edges.tolist())
