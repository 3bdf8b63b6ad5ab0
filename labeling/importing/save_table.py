"""Import the decisions of a CSV file. The whole file is read and checked before anything is saved."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal
from labeling.decisions import classes
from labeling.decisions.save import Decision, record_import
from labeling.exporting.rows import unsure_at_any_time
from labeling.importing.class_spellings import Spellings, match_labels, word_of
from labeling.importing.label_table import Choice, Row, layout_of, read_rows
from labeling.importing.undo import id_of, new_holder
from labeling.models import Dataset, LabelClass, State
from labeling.tables.encoding import seekable
from labeling.tables.item_lookup import IN_BATCH, SEVERAL
from labeling.tables.match_rows import Matcher
from labeling.tables.report import Names, TableReport

BATCH = 2000
MAX_NEW_CLASSES = 2000
_NO_LABEL = -1


@dataclass
class Report(TableReport):
    """The result of an import.

    ``applied`` and ``unchanged``: items. ``undecided``: lines without a label that are neither unsure nor skipped.
    ``repeated``: lines about items that a later line overrides. ``merged``: labels that were read as another spelling
    of a class, and the name of this class. ``import_id``: by which the import can be undone.
    """

    applied: int = 0
    unchanged: int = 0
    undecided: int = 0
    repeated: int = 0
    label_column: str = ""
    import_id: str = ""
    merged: dict[str, str] = field(default_factory=dict)
    unknown_classes: Names = field(default_factory=Names)
    created_classes: list[str] = field(default_factory=list)

    @property
    def is_about_nothing(self) -> bool:
        """Return whether no line is about an item of the dataset."""
        return 0 < self.rows == self.unknown.lines + self.ambiguous.lines

    def as_json(self) -> dict[str, object]:
        """Return the report for ``import_labels --json``. Lists have at most 1000 names, and ``lines_…`` counts all."""
        return self.common_json() | {
            "applied": self.applied,
            "unchanged": self.unchanged,
            "unknown_paths": list(self.unknown.names),
            "unknown_classes": list(self.unknown_classes.names),
            "created_classes": self.created_classes,
            "undecided": self.undecided,
            "repeated": self.repeated,
            "lines_with_unknown_path": self.unknown.lines,
            "lines_with_unknown_class": self.unknown_classes.lines,
            "label_column": self.label_column,
            "import_id": self.import_id if self.applied else None,
            "merged_labels": self.merged,
        }


def import_labels(
    dataset: Dataset,
    stream: BinaryIO,
    *,
    user: User | None,
    create_classes: bool = False,
    choice: Choice = Choice(),  # noqa: B008 - frozen
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Apply the decisions of a CSV file. Importing a file again changes nothing.

    A label makes an item labeled. Without a label, ``skipped`` makes it skipped and ``was_unsure`` unsure. A labeled or
    skipped item with ``was_unsure`` also gets that mark in its history. If several lines are about the same item, the
    last one applies. ``path`` has precedence over ``item_id``.

    The whole file is read and checked before anything is saved. Needs about 50 bytes of memory per line.
    ``progress(done, total)`` counts saved items. Raises Refusal if the file can't be read or is invalid. Nothing is
    imported then.
    """
    with seekable(stream) as table:
        plan, report = _planned(dataset, table, choice)
    label_ids = _label_ids(dataset, plan, report, choice, create_classes)
    _save(dataset, plan, label_ids, user, report, progress)
    return report


def _planned(dataset: Dataset, stream: BinaryIO, choice: Choice) -> tuple[_Plan, Report]:
    """Read the whole table and find its items."""
    layout = layout_of(stream, choice)
    key_column = layout.header("path") or layout.header("item_id")
    report = Report(encoding=layout.table.encoding, key_column=key_column, label_column=layout.header("label"))
    plan = _Plan()
    rows = read_rows(stream, layout)
    match, match_id = Matcher(dataset, layout.key), Matcher(dataset, "item_id")
    while batch := list(islice(rows, IN_BATCH)):
        report.rows += len(batch)
        by_path = iter(match([row.path for row in batch if row.path]))
        by_id = iter(match_id([str(row.item_id) for row in batch if not row.path]))
        for row in batch:
            item_id = next(by_path if row.path else by_id).pk
            if item_id < 0:
                names = report.ambiguous if item_id == SEVERAL.pk else report.unknown
                names.add(row.path or str(row.item_id))
            elif not row.is_decision:
                report.undecided += 1
            else:
                plan.add(item_id, row)
    report.repeated = plan.keep_last()
    report.by_name = match.n_by_name
    return plan, report


class _Plan:
    """The decisions of a file in a few bytes per line: item, index of its label in ``labels`` (or -1), two flags."""

    def __init__(self) -> None:
        self.items, self.label_of = array("q"), array("i")
        self.was_unsure, self.is_skipped = array("b"), array("b")
        # The first spelling of each label by its index. Labels with the same meaning share an index.
        self.labels: list[str] = []
        self._numbers: dict[str, int] = {}

    def add(self, item_id: int, row: Row) -> None:
        self.items.append(item_id)
        self.label_of.append(self._number(row.label) if row.label else _NO_LABEL)
        self.was_unsure.append(row.was_unsure)
        self.is_skipped.append(row.is_skipped)

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
        for column in (self.items, self.label_of, self.was_unsure, self.is_skipped):
            column[:] = array(column.typecode, [column[place] for place in last_lines])
        return n_lines - len(last_lines)

    def decision(self, place: int, label_ids: Mapping[int, int]) -> Decision | None:
        """Return the decision on the line at index ``place``; None if its class is unknown."""
        number = self.label_of[place]
        if number != _NO_LABEL:
            label_id = label_ids.get(number)
            return None if label_id is None else Decision(self.items[place], State.LABELLED, label_id)
        state = State.SKIPPED if self.is_skipped[place] else State.UNSURE
        return Decision(self.items[place], state)


# -- Classes ----------------------------------------------------------------------------------------
def _label_ids(dataset: Dataset, plan: _Plan, report: Report, choice: Choice, create: bool) -> dict[int, int]:
    """Return the class ID of each label index. Missing classes are created if ``create`` is true, else reported."""
    existing = {label.name: label.pk for label in LabelClass.objects.active().filter(dataset=dataset)}
    used = set(plan.label_of) - {_NO_LABEL}
    spellings = match_labels(plan.labels, used, existing, choice.same_numbers, may_create=create)
    report.merged = spellings.merged
    if create:
        return _with_created(dataset, plan, spellings, report)
    for number in plan.label_of:
        if number != _NO_LABEL and number not in spellings.class_of:
            report.unknown_classes.add(plan.labels[number])
    return spellings.class_of


def _with_created(dataset: Dataset, plan: _Plan, spellings: Spellings, report: Report) -> dict[int, int]:
    """Create all missing classes, or none of them, and return the class ID of each label index."""
    missing = sorted(set(spellings.same_as.values()))
    if len(missing) > MAX_NEW_CLASSES:
        raise Refusal(
            f"The file names {len(missing)} new classes. At most {MAX_NEW_CLASSES} are created. "
            f"Is {report.label_column!r} the right column? Choose another with --label COLUMN."
        )
    created: dict[int, LabelClass] = {}
    with transaction.atomic():
        for number in missing:
            try:
                created[number] = classes.add(dataset, plan.labels[number])
            except Refusal as problem:
                name = plan.labels[number][:100]
                raise Refusal(f"The class {name!r} can't be created: {problem}") from problem
    report.created_classes = [label.name for label in created.values()]
    return spellings.class_of | {number: created[first].pk for number, first in spellings.same_as.items()}


# -- Saving -----------------------------------------------------------------------------------------
def _save(
    dataset: Dataset,
    plan: _Plan,
    label_ids: Mapping[int, int],
    user: User | None,
    report: Report,
    progress: Callable[[int, int], None],
) -> None:
    total = len(plan.items)
    holder = new_holder()
    report.import_id = id_of(holder)
    for start in range(0, total, BATCH):
        stop = min(start + BATCH, total)
        decisions: list[Decision] = []
        once_unsure: list[int] = []
        for place in range(start, stop):
            decision = plan.decision(place, label_ids)
            if decision is None:
                continue
            decisions.append(decision)
            if plan.was_unsure[place] and decision.state != State.UNSURE:
                once_unsure.append(decision.item_id)
        marked = set().union(*map(unsure_at_any_time, batched(once_unsure, IN_BATCH)))
        if marks := [Decision(item_id, State.UNSURE) for item_id in once_unsure if item_id not in marked]:
            record_import(dataset, marks, user, holder)
        applied, unchanged = record_import(dataset, decisions, user, holder)
        report.applied += applied
        report.unchanged += unchanged
        progress(stop, total)
