"""Keep other columns of a label file as metadata fields: chosen ones, confidences, annotators without an account."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from labeling.exporting.canonical_text import number
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.importing.columns import Role
from labeling.importing.label_table import Layout, Row, read_values
from labeling.importing.report import Report
from labeling.models import Dataset
from labeling.tables import layout as tables

ANNOTATOR, CONFIDENCE = "annotator", "confidence"
_KEY = "item"


@dataclass
class ExtraFields:
    """Hold the metadata fields of a label table. ``key``: how it names items."""

    dataset: Dataset
    stream: BinaryIO
    layout: Layout
    key: str
    report: Report

    @cached_property
    def names(self) -> list[str]:
        """Return the names of the fields."""
        return [name for name, _ in self._columns]

    @cached_property
    def _columns(self) -> list[tuple[str, int | None]]:
        """Return the name of each field and the index of its column; None for shares of votes."""
        columns, headers = self.layout.columns, self.layout.table.headers
        found: list[tuple[str, int | None]] = []
        for place in columns.places(Role.FIELD):
            if headers[place].lower() not in {_KEY, ANNOTATOR, CONFIDENCE, *(name.lower() for name, _ in found)}:
                found.append((headers[place], place))
        confidence, annotator = columns.place(Role.CONFIDENCE), columns.place(Role.ANNOTATOR)
        if confidence is not None or columns.places(Role.VOTES):
            found.append((CONFIDENCE, confidence))
        if annotator is not None and self.report.unknown_annotators:
            found.append((ANNOTATOR, annotator))
        return found

    def check(self) -> None:
        """Raise Refusal if the values can't be saved."""
        self._import(is_trial=True)

    def save(self) -> list[str]:
        """Save the values, and return the names of the fields that have any."""
        return self._import(is_trial=False)

    def _import(self, *, is_trial: bool) -> list[str]:
        if not self._columns or not self.report.matched:
            return []
        wish = Wish(key=self.key, key_column=_KEY, columns=tuple(self.names))
        saved = import_fields(
            self.dataset, self.stream, wish, read_layout=self._read, is_trial=is_trial, last_applies=True
        )
        return [field.name for field in saved.fields]

    def _read(self, stream: BinaryIO, rank: tables.Rank, encoding: str) -> tables.Layout:
        return tables.Layout("", "", (_KEY, *self.names), 0, read=self._rows)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the key of each image and the values of its fields."""
        unknown = set(self.report.unknown_annotators)
        for row, values in read_values(self.stream, self.layout):
            key = row.path if self.key != "item_id" else str(row.item_id)
            if key:
                yield (
                    row.line,
                    [key, *(self._value(name, place, row, values, unknown) for name, place in self._columns)],
                )

    @staticmethod
    def _value(name: str, place: int | None, row: Row, values: Sequence[str], unknown: Collection[str]) -> str:
        if place is None:
            return "" if math.isnan(row.confidence) else number(row.confidence)
        if name == ANNOTATOR:
            return row.annotator if row.annotator in unknown else ""
        return values[place] if place < len(values) else ""
