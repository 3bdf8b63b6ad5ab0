"""Write the tags and notes of a dataset with their times and authors, and restore them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec

from labeling.exporting.canonical_text import moment
from labeling.exporting.scope import Scope
from labeling.history.parts import FOLDER, parsed, time_of
from labeling.models import MAX_NOTE_TEXT, MAX_TAG, Dataset, Item, ItemTag, Note, Tag
from labeling.notes.tags import MOST_TAGS, clean_name

FILE = f"{FOLDER}/remarks.jsonl"
_AT_ONCE = 1_000


class Remark(msgspec.Struct):
    """Represent a tag or a note of an item. ``by``: "" for nobody."""

    item_id: int
    path: str
    at: str
    by: str
    tag: Annotated[str, msgspec.Meta(max_length=MAX_TAG)] = ""
    note: Annotated[str, msgspec.Meta(max_length=MAX_NOTE_TEXT)] = ""


def remark_rows(dataset: Dataset, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the tags, then the notes, each in the order in which they were added."""
    tags = ItemTag.objects.filter(tag__dataset=dataset).order_by("pk")
    notes = Note.objects.filter(dataset=dataset).order_by("pk")
    if scope.until is not None:
        tags, notes = tags.filter(tagged_at__lte=scope.until), notes.filter(created_at__lte=scope.until)
    name_of, columns = scope.annotators.name_of, ("item_id", "item__path")
    of_tags = tags.values_list(*columns, "tagged_at", "tagged_by__username", "tag__name")
    for item_id, path, at, by, tag in of_tags.iterator(chunk_size=_AT_ONCE):
        yield {"item_id": item_id, "path": path, "at": moment(at), "by": name_of(by), "tag": tag}
    of_notes = notes.values_list(*columns, "created_at", "author__username", "text")
    for item_id, path, at, by, text in of_notes.iterator(chunk_size=_AT_ONCE):
        yield {"item_id": item_id, "path": path, "at": moment(at), "by": name_of(by), "note": text}


def parsed_remarks(rows: Iterable[dict[str, Any]]) -> Iterator[Remark]:
    """Check the rows. Raises Refusal if one is invalid."""
    for row in rows:
        remark = parsed(row, Remark)
        if remark.tag:
            remark.tag = clean_name(remark.tag)
        yield remark


def restore_remarks(
    dataset: Dataset, remarks: Iterable[Remark], item_ids: Mapping[int, int], users: Mapping[str, int]
) -> int:
    """Create tags and notes with their times and authors. Return their number. Called in a transaction."""
    tags: dict[str, Tag] = {tag.name: tag for tag in dataset.tags.all()[:MOST_TAGS]}
    row_of: dict[int, int] = {}
    n_restored = 0
    for remark in remarks:
        item_id, user_id = item_ids[remark.item_id], users.get(remark.by)
        if item_id not in row_of:
            row_of[item_id] = Item.objects.values_list("row", flat=True).get(pk=item_id)
        row = row_of[item_id]
        if remark.tag:
            if remark.tag not in tags:
                tags[remark.tag] = Tag.objects.create(dataset=dataset, name=remark.tag)
            made: ItemTag | Note = ItemTag(item_id=item_id, tag=tags[remark.tag], row=row, tagged_by_id=user_id)
            made.save()
            ItemTag.objects.filter(pk=made.pk).update(tagged_at=time_of(remark.at))
        else:
            made = Note(dataset=dataset, item_id=item_id, row=row, text=remark.note, author_id=user_id)
            made.save()
            Note.objects.filter(pk=made.pk).update(created_at=time_of(remark.at))
        n_restored += 1
    return n_restored
