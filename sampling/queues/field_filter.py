"""Filter rows by fields: parse a URL's conditions (``f.mass=2..5``), describe them, and apply them.

``f.NAME`` may be repeated. An item passes if any value of a field matches, for every field that is named:

- numbers and times: ``2..5``, ``..5``, ``2..``, or ``3`` alone, ends included; a date stands for the whole day
- text: the value itself; ``=unknown`` is the text "unknown", and a value that begins with ``=`` gets another ``=``
- ``unknown``: items without a value
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.http import QueryDict
from numpy.typing import NDArray

from hoshina.core.storage import StoreError
from labeling.fields import Column, column_of
from labeling.fields.parse_values import number_of, time_of
from labeling.models import Dataset, Field
from sampling.queues.strategy import BadParameter

PREFIX = "f."
UNKNOWN = "unknown"
MOST = 20
_DAY = 86400
_DAY_LENGTH = len("2011-06-07")


@dataclass(frozen=True)
class Condition:
    """A condition on one field; ``values`` are as in the URL."""

    name: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the condition as text for a page."""
        return f"{self.name} {' or '.join(value.removeprefix('=') for value in self.values)}"


def conditions_from(query: QueryDict) -> tuple[Condition, ...]:
    """Return the conditions of a URL by name, without empty values. Raises BadParameter if there are too many."""
    found: dict[str, dict[str, None]] = {}
    for key in query:
        if key.startswith(PREFIX):
            for value in query.getlist(key):
                if value:
                    found.setdefault(key.removeprefix(PREFIX), {}).setdefault(value)
    if sum(len(chosen) for chosen in found.values()) > MOST * 10 or len(found) > MOST:
        raise BadParameter(f"At most {MOST} fields can be filtered by at once.")
    return tuple(Condition(name, tuple(sorted(chosen))) for name, chosen in sorted(found.items()))


def conditions_of(texts: Iterable[str]) -> tuple[Condition, ...]:
    """Return the conditions of texts such as ``mass=2..5``. Raises BadParameter if one has another form."""
    query = QueryDict(mutable=True)
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise BadParameter(f"A filter is FIELD=VALUE, such as mass=2..5, not {text[:60]!r}.", field="filter")
        query.appendlist(PREFIX + name, value)
    return conditions_from(query)


def value_of(text: str) -> str:
    """Return a value of a text field as URLs have it."""
    return f"={text}" if text == UNKNOWN or text.startswith("=") else text


def as_params(conditions: Iterable[Condition]) -> dict[str, Any]:
    """Return the conditions as JSON for a round; empty if there are none."""
    fields = {condition.name: list(condition.values) for condition in conditions}
    return {"fields": fields} if fields else {}


def from_params(params: dict[str, Any]) -> tuple[Condition, ...]:
    """Return the conditions from the JSON of :func:`as_params`."""
    return tuple(Condition(name, tuple(values)) for name, values in sorted(params.get("fields", {}).items()))


def narrowed(dataset: Dataset, rows: NDArray[np.int64], conditions: Sequence[Condition]) -> NDArray[np.int64]:
    """Return those of the ascending ``rows`` that meet all conditions.

    Raises BadParameter, with a text to show, for an unknown field or an invalid value.
    """
    for condition in conditions:
        passes = mask_of(column_named(dataset, condition.name), condition)
        # Items added after the column was written have no value.
        here = rows[: np.searchsorted(rows, len(passes))]
        newer = rows[len(here) :] if UNKNOWN in condition.values else rows[:0]
        # Several times as fast as here[passes[here]].
        left: NDArray[np.int64] = np.compress(np.take(passes, here, mode="clip"), here)
        rows = np.concatenate([left, newer]) if len(newer) else left
    return rows


def check(dataset: Dataset, conditions: Iterable[Condition]) -> None:
    """Raise BadParameter for whatever :func:`narrowed` would refuse, before any work."""
    for condition in conditions:
        column = column_named(dataset, condition.name)
        for value in condition.values:
            if not column.is_text and value != UNKNOWN:
                range_of(column.kind, condition.name, value)


def column_named(dataset: Dataset, name: str) -> Column:
    """Return the column of the dataset's field called ``name``, ignoring case. Raises BadParameter if there is none."""
    field = Field.objects.filter(dataset=dataset, name__iexact=name).first() if "\0" not in name else None
    if field is None:
        raise BadParameter(f"There is no field {name[:80]!r}. It may have been renamed or deleted.")
    try:
        return column_of(field)
    except StoreError as damaged:
        raise BadParameter(damaged.message, damaged.hint) from damaged


def mask_of(column: Column, condition: Condition) -> NDArray[np.bool_]:
    """Return which of the column's rows meet the condition, bool (n_rows,). Raises BadParameter for invalid values."""
    values = [value for value in condition.values if value != UNKNOWN]
    if column.is_text:
        passes = _of_text(column, values)
    else:
        ranges = [range_of(column.kind, condition.name, value) for value in values]
        passes = np.zeros(len(column.values), np.bool_)
        for low, high in ranges:
            passes |= (column.values >= low) & (column.values <= high)
    return passes | ~column.known() if len(values) < len(condition.values) else passes


def _of_text(column: Column, values: Sequence[str]) -> NDArray[np.bool_]:
    codes = [column.vocabulary.code_of(value.removeprefix("=")) for value in values]
    codes = [code for code in codes if code >= 0]
    if len(codes) == 1:
        passes: NDArray[np.bool_] = column.values == codes[0]
        return passes
    wanted = np.zeros(len(column.vocabulary) + 1, np.bool_)  # the last entry is for code -1
    wanted[codes] = True
    return wanted[column.values.astype(np.int32, copy=False)]


def range_of(kind: str, name: str, text: str) -> tuple[float, float]:
    """Return the ends of the range in ``text``, infinite where it is open. Raises BadParameter if it is invalid."""
    first, dots, last = text.partition("..")
    low = _end(kind, name, text, first, is_last=False, is_open=bool(dots))
    high = _end(kind, name, text, last if dots else first, is_last=True, is_open=bool(dots))
    if low > high:
        raise BadParameter(f"{name}: the range {text[:60]!r} ends before it starts.")
    return low, high


def _end(kind: str, name: str, text: str, end: str, *, is_last: bool, is_open: bool) -> float:
    end = end.strip()
    if not end and is_open:
        return math.inf if is_last else -math.inf
    if kind == Field.Kind.TIME:
        value = time_of(end)
        # The last microsecond of the day.
        value = value + _DAY - 1e-6 if value is not None and is_last and len(end) == _DAY_LENGTH else value
    else:
        value = number_of(end)
    if value is None or math.isnan(value):
        like = "2011-06-07..2011-06-09" if kind == Field.Kind.TIME else "2..5, ..5 or 2.."
        raise BadParameter(f"{name} can't be {text[:60]!r}: give a range like {like}, or 'unknown'.")
    return value
