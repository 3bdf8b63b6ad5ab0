"""Find images by a text in their path, tags, notes or text fields: one choice for each way in which it occurs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import numpy as np
from django.db.models import Count

from hoshina.core.storage import StoreError
from labeling.fields import column_of
from labeling.models import FLAG, Dataset, Field, Item
from labeling.notes.tags import tags_in_use
from sampling.queues.field_filter import PREFIX, value_of
from sampling.queues.note_filter import LONGEST_TEXT, rows_of_notes

# Counted paths, listed tags, and listed values of a field.
MOST_COUNTED, MOST_TAGS, MOST_VALUES = 1000, 5, 3
# Fields that are searched, and values of each that are counted to find the most frequent.
_MOST_FIELDS, _MOST_COUNTED_VALUES = 20, 20


@dataclass(frozen=True)
class Choice:
    """Describe a way in which images match: its name, their number, and the filter that shows them."""

    name: str
    n: int
    params: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the choice for the browser, with the query of the queue All."""
        count = f"{self.n:,}" if self.n <= MOST_COUNTED or "path" not in self.params else f"over {MOST_COUNTED:,}"
        images = "image" if self.n == 1 else "images"
        query = urlencode({"queue": "all", "state": "any", **self.params})
        return {"name": self.name, "n": self.n, "count": f"{count} {images}", "query": query}


def choices_for(dataset: Dataset, text: str) -> list[Choice]:
    """Return the ways in which ``text`` occurs, ignoring the case of ASCII letters at least.

    The path is among them, also if no path contains it, and then the last.
    """
    text = text.replace("\0", "").strip()
    if not text or len(text) > LONGEST_TEXT:
        return []
    others = [*_tags(dataset, text), *_notes(dataset, text), *_fields(dataset, text)]
    return sorted([_paths(dataset, text), *(choice for choice in others if choice.n)], key=lambda choice: not choice.n)


def _paths(dataset: Dataset, text: str) -> Choice:
    # A count that stops early: the whole table is read only if few paths match.
    paths = Item.objects.of(dataset).available().filter(path__icontains=text).values("pk")
    return Choice(f"Images with “{text}” in the path", paths[: MOST_COUNTED + 1].count(), {"path": text})


def _tags(dataset: Dataset, text: str) -> Iterator[Choice]:
    tags = tags_in_use(dataset).filter(name__icontains=text).annotate(n=Count("item_tags")).order_by("-n", "name")
    for tag in tags[:MOST_TAGS]:
        if tag.name == FLAG:
            yield Choice("Flagged images", tag.n, {"flagged": "1"})
        else:
            yield Choice(f"Images tagged {tag.name}", tag.n, {"tag": tag.name})


def _notes(dataset: Dataset, text: str) -> Iterator[Choice]:
    yield Choice(f"Images with “{text}” in a note", len(rows_of_notes(dataset, text)), {"note": text})


def _fields(dataset: Dataset, text: str) -> Iterator[Choice]:
    for field in Field.objects.filter(dataset=dataset, kind=Field.Kind.TEXT).order_by("pk")[:_MOST_FIELDS]:
        try:
            column = column_of(field)
        except StoreError:
            continue  # the page Fields reports damaged files
        codes = column.vocabulary.codes_containing(text, _MOST_COUNTED_VALUES)
        counted = sorted(((int(np.count_nonzero(column.values == code)), code) for code in codes), reverse=True)
        for n, code in counted[:MOST_VALUES]:
            value = column.vocabulary[code]
            yield Choice(f"Images with {field.name} = {value}", n, {PREFIX + field.name: value_of(value)})
