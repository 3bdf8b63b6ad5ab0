"""Export the flag, the tags and the notes of items."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from labeling.exporting.canonical_text import csv_line, moment
from labeling.exporting.scope import Annotators, Scope
from labeling.models import FLAG, Dataset, Item, ItemTag, Note
from labeling.notes.entries import notes_of
from labeling.notes.tags import tags_of, without_flag

REMARK_COLUMNS = ("flagged", "tags", "notes")
# IDs per IN (…), as for the labels.
_BATCH = 900


@dataclass(frozen=True, slots=True)
class Remarks:
    """Hold what people remarked about an item. ``notes`` is a JSON list of {at, by, text}, or empty."""

    is_flagged: bool = False
    tags: tuple[str, ...] = ()
    notes: str = ""

    @property
    def cells(self) -> tuple[object, ...]:
        """Return the values of ``REMARK_COLUMNS``."""
        return int(self.is_flagged), ";".join(self.tags), self.notes


NO_REMARKS = Remarks()


def remarks_of(item_ids: Collection[int], scope: Scope) -> dict[int, Remarks]:
    """Return the remarks about items that have any, by two queries."""
    tags = tags_of(item_ids, until=scope.until)
    entries_of = notes_of(item_ids, until=scope.until)
    notes = {item_id: _as_json(entries, scope.annotators) for item_id, entries in entries_of.items()}
    return {
        item_id: Remarks(
            FLAG in tags.get(item_id, []), tuple(without_flag(tags.get(item_id, []))), notes.get(item_id, "")
        )
        for item_id in {*tags, *notes}
    }


def _as_json(notes: Collection[Note], annotators: Annotators) -> str:
    entries = [
        {
            "at": moment(note.created_at),
            "by": annotators.name_of(note.author.get_username() if note.author else ""),
            "text": note.text,
        }
        for note in notes
    ]
    return json.dumps(entries, ensure_ascii=False)


def remark_lines(dataset: Dataset, scope: Scope) -> Iterator[bytes]:
    """Yield notes.csv: the items with a flag, a tag or a note by row, whether labeled or not."""
    yield csv_line(("item_id", "path", *REMARK_COLUMNS)).encode()
    last = -1
    while rows := _next_rows(dataset, last):
        items = list(Item.objects.of(dataset).filter(row__in=rows).order_by("row").values_list("pk", "path"))
        remarks = remarks_of([pk for pk, _ in items], scope)
        yield "".join(csv_line((pk, path, *remarks[pk].cells)) for pk, path in items if pk in remarks).encode()
        last = rows[-1]


def _next_rows(dataset: Dataset, last: int) -> list[int]:
    """Return the next rows with a remark, ascending."""
    found: set[int] = set()
    for remarks in (ItemTag.objects.filter(tag__in=dataset.tags.all()), Note.objects.filter(dataset=dataset)):
        found.update(remarks.filter(row__gt=last).order_by("row").values_list("row", flat=True).distinct()[:_BATCH])
    return sorted(found)[:_BATCH]
