"""Filter rows by what people remarked about items: the flag, a tag, notes, and chosen rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import QuerySet
from numpy.typing import NDArray

from hoshina.core.parsing import whole_number
from labeling.models import FLAG, Dataset, ItemTag, Note
from labeling.notes.tags import tag_named
from sampling.queues.strategy import BadParameter

Rows = NDArray[np.int64]
LONGEST_TEXT, MOST_ROWS = 200, 240


@dataclass(frozen=True)
class NoteFilter:
    """Filter by remarks. ``note`` is a text that a note contains, ignoring case; ``rows`` are the only rows."""

    is_flagged: bool = False
    tag: str = ""
    is_noted: bool = False
    note: str = ""
    rows: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self != NO_NOTE_FILTER

    @property
    def nothing(self) -> str:
        """Return the sentence for a page without images."""
        parts = ["is flagged"] if self.is_flagged else []
        parts += [f"is tagged “{self.tag}”"] if self.tag else []
        parts += ["has a note"] if self.is_noted else []
        parts += [f"has “{self.note}” in a note"] if self.note else []
        return f"No image that matches the other filters {' and '.join(parts) or 'is among the chosen ones'}."

    def as_params(self) -> dict[str, Any]:
        """Return the filter as parameters of a URL or a round; empty if it excludes nothing."""
        params = {
            "flagged": "1" if self.is_flagged else "",
            "tag": self.tag,
            "noted": "1" if self.is_noted else "",
            "note": self.note,
            "rows": ",".join(map(str, self.rows)),
        }
        return {name: value for name, value in params.items() if value}


NO_NOTE_FILTER = NoteFilter()


def note_filter_from(params: Any) -> NoteFilter:
    """Return the filter in the parameters of a URL or a round. Raises BadParameter if it is invalid."""
    texts = {name: str(params.get(name) or "").strip() for name in ("flagged", "tag", "noted", "note", "rows")}
    for name in ("tag", "note"):
        if len(texts[name]) > LONGEST_TEXT or "\0" in texts[name]:
            raise BadParameter(f"{name} must be a text of at most {LONGEST_TEXT} characters.")
    for name in ("flagged", "noted"):
        if texts[name] not in ("", "1"):
            raise BadParameter(f"{name} must be 1 or empty, not {texts[name][:40]!r}.")
    return NoteFilter(
        bool(texts["flagged"]), texts["tag"], bool(texts["noted"]), texts["note"], _rows_from(texts["rows"])
    )


def _rows_from(text: str) -> tuple[int, ...]:
    if not text:
        return ()
    rows = [whole_number(part, 15) for part in text.split(",", MOST_ROWS)]
    if len(rows) > MOST_ROWS or None in rows:
        raise BadParameter(f"rows must be at most {MOST_ROWS} numbers separated by commas.")
    return tuple(sorted({row for row in rows if row is not None}))


def narrowed(dataset: Dataset, rows: Rows, wanted: NoteFilter) -> Rows:
    """Return those of the ascending ``rows`` that match the filter."""
    if wanted.rows:
        rows = _common(rows, np.array(wanted.rows, np.int64))
    for name in [FLAG] * wanted.is_flagged + [wanted.tag] * bool(wanted.tag):
        rows = _common(rows, rows_of_tag(dataset, name))
    if wanted.note or wanted.is_noted:
        rows = _common(rows, rows_of_notes(dataset, wanted.note))
    return rows


def rows_of_tag(dataset: Dataset, name: str) -> Rows:
    """Return the rows of the items with a tag, ascending, from the index (tag, row)."""
    tag = tag_named(dataset, name)
    return _read(ItemTag.objects.filter(tag=tag).order_by("row")) if tag else np.empty(0, np.int64)


def rows_of_notes(dataset: Dataset, text: str = "") -> Rows:
    """Return the rows of the items with a note that contains ``text``, ascending."""
    found = Note.objects.filter(dataset=dataset, **({"text__icontains": text} if text else {}))
    return np.unique(_read(found.order_by("row")))


def _read(found: QuerySet[Any]) -> Rows:
    return np.fromiter(found.values_list("row", flat=True).iterator(chunk_size=10_000), np.int64)


def _common(rows: Rows, others: Rows) -> Rows:
    """Return the common rows of two ascending arrays; fast if the second is short."""
    places = np.searchsorted(rows, others)
    others = others[places < len(rows)]
    found: Rows = others[rows[places[: len(others)]] == others]
    return found
