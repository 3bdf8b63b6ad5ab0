"""Add and delete notes of items."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

from django.contrib.auth.models import User

from hoshina.core.errors import Refusal
from labeling.models import MAX_NOTE_TEXT, Item, Note

MOST_NOTES = 200
# Control characters but tab and line break.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def add_note(item: Item, text: str, user: User | None) -> Note:
    """Add a note. A repeated request adds no second one. Raises Refusal if the text is empty or too long."""
    text = _CONTROLS.sub("", text.replace("\r\n", "\n")).strip()
    if not text:
        raise Refusal("The note is empty.", "Type some text.", field="text")
    if len(text) > MAX_NOTE_TEXT:
        hint = f"Use at most {MAX_NOTE_TEXT:,}, or write several notes."
        raise Refusal(f"The note has {len(text):,} characters.", hint, field="text")
    newest = Note.objects.filter(item=item).order_by("-pk").first()
    if newest and newest.text == text and newest.author == user:
        return newest
    if Note.objects.filter(item=item).count() >= MOST_NOTES:
        raise Refusal(f"The image has {MOST_NOTES} notes.", "Delete one first.", field="text")
    return Note.objects.create(dataset_id=item.dataset_id, item=item, row=item.row, text=text, author=user)


def notes_of(item_ids: Collection[int], *, until: datetime | None = None) -> dict[int, list[Note]]:
    """Return the notes of items that have any, oldest first, by one query. ``until``: those written until then."""
    found: dict[int, list[Note]] = {}
    notes = Note.objects.filter(item__in=item_ids)
    if until is not None:
        notes = notes.filter(created_at__lte=until)
    for note in notes.select_related("author").order_by("pk"):
        found.setdefault(note.item_id, []).append(note)
    return found
