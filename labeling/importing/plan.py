"""Read a whole label table and find its items, before anything is saved."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import BinaryIO

import numpy as np

from labeling.decisions.save import THE_IMPORTER, Decision
from labeling.importing.class_spellings import word_of
from labeling.importing.columns import Role
from labeling.importing.label_table import NO_REMARKS, Layout, Remarks, Row, read_rows
from labeling.importing.report import Report
from labeling.models import Dataset, State
from labeling.tables.item_column import ANY
from labeling.tables.item_lookup import IN_BATCH, NOBODY, SEVERAL, ItemKey, is_foreign
from labeling.tables.match_rows import Matcher

NO_LABEL = -1
_NO_ANNOTATOR = -1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Plan:
    """Hold a file's decisions in a few bytes per line: item, index of its label in ``labels`` (or -1), flags, details.

    ``annotators`` are the names in the file, and ``annotator_of`` has the index of each line's (or -1). ``remarks``
    holds those of items that have any. ``key``: how the table names items.
    """

    key: str = ""
    items: array[int] = field(default_factory=lambda: array("q"))
    label_of: array[int] = field(default_factory=lambda: array("i"))
    was_unsure: array[int] = field(default_factory=lambda: array("b"))
    is_skipped: array[int] = field(default_factory=lambda: array("b"))
    annotator_of: array[int] = field(default_factory=lambda: array("i"))
    times: array[float] = field(default_factory=lambda: array("d"))
    # The first spelling of each label by its index. Labels with the same meaning share an index.
    labels: list[str] = field(default_factory=list)
    annotators: dict[str, int] = field(default_factory=dict)
    remarks: dict[int, Remarks] = field(default_factory=dict)
    # The IDs of users by the index of an annotator; None for those without an account.
    users: Mapping[int, int | None] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def add(self, item_id: int, row: Row) -> None:
        """Add a decision."""
        self.items.append(item_id)
        self.label_of.append(self._number(row.label) if row.label else NO_LABEL)
        self.was_unsure.append(row.was_unsure)
        self.is_skipped.append(row.is_skipped)
        name = row.annotator
        self.annotator_of.append(self.annotators.setdefault(name, len(self.annotators)) if name else _NO_ANNOTATOR)
        self.times.append(row.time)

    def _number(self, label: str) -> int:
        word = word_of(label)
        if word not in self._numbers:
            self._numbers[word] = len(self.labels)
            self.labels.append(label)
        return self._numbers[word]

    def keep_last(self) -> int:
        """Keep the last line of each item, in ascending order of IDs. Return the number of lines removed."""
        n_lines = len(self.items)
        _, from_end = np.unique(np.asarray(self.items, dtype=np.int64)[::-1], return_index=True)
        last_lines = (n_lines - 1 - from_end).tolist()
        columns: tuple[array[int] | array[float], ...] = (
            self.items, self.label_of, self.was_unsure, self.is_skipped, self.annotator_of, self.times
        )  # fmt: skip
        for column in columns:
            column[:] = array(column.typecode, [column[place] for place in last_lines])
        return n_lines - len(last_lines)

    def decision(self, place: int, label_ids: Mapping[int, int]) -> Decision | None:
        """Return the decision on the line at index ``place``; None if its class is unknown."""
        number, label_id = self.label_of[place], None
        if number != NO_LABEL:
            label_id = label_ids.get(number)
            if label_id is None:
                return None
        state = State.LABELLED if label_id else State.SKIPPED if self.is_skipped[place] else State.UNSURE
        annotator, seconds = self.annotator_of[place], self.times[place]
        return Decision(
            self.items[place],
            state,
            label_id,
            THE_IMPORTER if annotator == _NO_ANNOTATOR else self.users.get(annotator),
            None if math.isnan(seconds) else _moment(seconds),
        )


def _moment(seconds: float) -> datetime | None:
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None


def planned(
    dataset: Dataset, stream: BinaryIO, layout: Layout, progress: Callable[[int], None] = lambda lines: None
) -> tuple[Plan, Report]:
    """Read the whole table and find its items. ``progress(lines)`` counts lines."""
    report = Report(
        encoding=layout.table.encoding,
        key_column=layout.header(Role.IMAGE),
        label_column=layout.header(Role.LABEL),
        format=layout.table.format,
    )
    plan = Plan(key=layout.key)
    rows = read_rows(stream, layout)
    match, match_id = Matcher(dataset, layout.key), Matcher(dataset, "item_id")
    while batch := list(islice(rows, IN_BATCH)):
        paths = [row.path for row in batch if row.path]
        items = match(paths)
        if not report.rows and layout.may_be_foreign and _are_foreign(paths, items):
            plan.key, match = ANY, Matcher(dataset, ANY)
            items = match(paths)
        report.rows += len(batch)
        by_path = iter(items)
        by_id = iter(match_id([str(row.item_id) for row in batch if not row.path]))
        for row in batch:
            _add(plan, report, row, next(by_path if row.path else by_id).pk)
        progress(report.rows)
    report.repeated = plan.keep_last()
    report.by_name = match.n_by_name
    return plan, report


def _are_foreign(paths: Sequence[str], items: Sequence[ItemKey]) -> bool:
    """Return whether the first paths of a table are those of another machine: none is a path of the dataset."""
    return all(item == NOBODY for item in items) and any(map(is_foreign, paths))


def _add(plan: Plan, report: Report, row: Row, item_id: int) -> None:
    if item_id < 0:
        names = report.ambiguous if item_id == SEVERAL.pk else report.unknown
        names.add(row.path or str(row.item_id))
        return
    report.matched += 1
    if row.remarks != NO_REMARKS:
        plan.remarks[item_id] = row.remarks
    if row.is_decision:
        plan.add(item_id, row)
    else:
        report.undecided += 1
