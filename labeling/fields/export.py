"""Add fields to an export: their list in the manifest, and metadata.csv with the labeled items' values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hoshina.core.errors import reason_of
from labeling.exporting import Contribution, Member, Section, register
from labeling.exporting.canonical_text import csv_line
from labeling.fields.columns import Column, column_of
from labeling.fields.item_values import texts_of
from labeling.models import Dataset, Field, Item, State

_BATCH = 900
# Upper bounds of bytes for the path and for each value of a row, which decide whether 64-bit sizes are needed.
_ROW_BYTES, _VALUE_BYTES = 5000, 4000


def why_not(dataset: Dataset) -> str:
    """Return why there is no metadata.csv and what to do about it; "" if there is one."""
    fields = list(Field.objects.filter(dataset=dataset))
    if not fields:
        return "There are no fields. Import a table of metadata, or read header cards, on the page Fields."
    return reason_of(lambda: [column_of(field) for field in fields])


def contribute(dataset: Dataset, is_wanted: bool) -> Contribution:
    """Return the manifest's list of fields, and metadata.csv with the current values if requested."""
    fields = list(Field.objects.filter(dataset=dataset))
    manifest: dict[str, Any] = {
        "fields": [
            {"name": field.name, "kind": field.kind, "source": field.source, "known": field.n_known} for field in fields
        ]
    }
    if not is_wanted or not fields:
        return Contribution(manifest=manifest)
    columns = [column_of(field) for field in fields]
    is_huge = dataset.n_items * (_ROW_BYTES + _VALUE_BYTES * len(fields)) >= 2**31
    header = ["item_id", "path", *(field.name for field in fields)]
    return Contribution(manifest=manifest, members=[Member("metadata.csv", _lines(dataset, header, columns), is_huge)])


def _lines(dataset: Dataset, header: list[str], columns: list[Column]) -> Iterator[bytes]:
    """Yield the labeled items by row."""
    yield csv_line(header).encode()
    labelled, last = Item.objects.of(dataset).filter(state=State.LABELLED).order_by("row"), -1
    while batch := list(labelled.filter(row__gt=last).values_list("row", "id", "path")[:_BATCH]):
        rows = np.fromiter((row for row, _, _ in batch), np.int64, len(batch))
        values = [texts_of(column, rows) for column in columns]
        lines = zip(batch, *values, strict=True)
        yield "".join(csv_line((item_id, path, *texts)) for (_, item_id, path), *texts in lines).encode()
        last = batch[-1][0]


register(
    Section(name="metadata", title="Fields of the labeled items (metadata.csv)", contribute=contribute, why_not=why_not)
)
