"""Save the flags, tags and notes of a file, as exports have them or as words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

import msgspec
from django.contrib.auth.models import User

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal
from labeling.importing.label_table import Remarks
from labeling.models import FLAG, MAX_NOTE_TEXT, Dataset, Item, Note
from labeling.notes.entries import notes_of
from labeling.notes.tags import MOST_ITEMS, clean_name, tag_items, tags_of
from labeling.tables.item_lookup import IN_BATCH

_SEPARATORS = re.compile(r"[;,|]")
# How FiftyOne and data frames write lists.
_BRACKETS = "[]()\"' "


class _Entry(msgspec.Struct):
    """Represent a note as exports have it.

    ``by`` is empty for someone without an account, None if the text does not say.
    """

    text: str
    by: str | None = None
    at: datetime | None = None


def tags_in(text: str) -> list[str]:
    """Return the tags in a cell."""
    names = (name.strip(_BRACKETS) for name in _SEPARATORS.split(text))
    return [name for name in names if name]


def notes_in(text: str) -> list[_Entry]:
    """Return the notes in a cell: a JSON list of an export, or one text."""
    if text.startswith("["):
        try:
            return msgspec.json.decode(text, type=list[_Entry])
        except msgspec.DecodeError:
            pass  # a text that begins with a bracket
    return [_Entry(text)] if text else []


def check_remarks(remarks: Mapping[int, Remarks]) -> None:
    """Raise Refusal if a tag or a note can't be saved."""
    for name in {name for each in remarks.values() for name in tags_in(each.tags)}:
        clean_name(name)
    for each in remarks.values():
        for entry in notes_in(each.notes):
            if len(entry.text) > MAX_NOTE_TEXT:
                raise Refusal(f"A note has {len(entry.text):,} characters.", f"Shorten it to {MAX_NOTE_TEXT:,}.")


def save_remarks(dataset: Dataset, remarks: Mapping[int, Remarks], user: User | None) -> int:
    """Add flags, tags and notes to items. Return how many items got something that they did not have."""
    changed: set[int] = set()
    by_tag: dict[str, list[int]] = {}
    for batch in batched(list(remarks), IN_BATCH):
        had = tags_of(batch)
        for item_id in batch:
            wanted = {*tags_in(remarks[item_id].tags), *([FLAG] if remarks[item_id].is_flagged else [])}
            attached = {name.lower() for name in had.get(item_id, ())}
            for name in sorted(name for name in wanted if name.lower() not in attached):
                by_tag.setdefault(name, []).append(item_id)
                changed.add(item_id)
        changed |= _add_notes(dataset, batch, remarks, user)
    for name, item_ids in by_tag.items():
        for some in batched(item_ids, min(MOST_ITEMS, IN_BATCH)):
            tag_items(dataset, some, name, user, is_on=True)
    return len(changed)


def _add_notes(
    dataset: Dataset, item_ids: Sequence[int], remarks: Mapping[int, Remarks], user: User | None
) -> set[int]:
    entries = {item_id: notes_in(remarks[item_id].notes) for item_id in item_ids if remarks[item_id].notes}
    if not entries:
        return set()
    there = {item_id: {note.text for note in notes} for item_id, notes in notes_of(list(entries)).items()}
    rows = dict(Item.objects.filter(pk__in=entries).values_list("pk", "row"))
    names = {entry.by for notes in entries.values() for entry in notes if entry.by}
    authors = {author.username: author for author in User.objects.filter(username__in=list(islice(names, IN_BATCH)))}
    added: set[int] = set()
    for item_id, notes in entries.items():
        for entry in notes:
            text = entry.text.strip()
            if not text or text in there.get(item_id, ()) or item_id not in rows:
                continue
            author = user if entry.by is None else authors.get(entry.by)
            note = Note.objects.create(dataset=dataset, item_id=item_id, row=rows[item_id], text=text, author=author)
            if entry.at is not None:
                at = entry.at if entry.at.tzinfo else entry.at.replace(tzinfo=UTC)
                Note.objects.filter(pk=note.pk).update(created_at=at)
            added.add(item_id)
    return added
