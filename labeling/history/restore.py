"""Import the record of all decisions into a dataset that has none, with everything that the record refers to.

The whole record is read and checked first. Everything is then saved in one transaction, so that a record is there as a
whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from uuid import UUID

import msgspec
from django.db import transaction

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from labeling.decisions import sql as decision_sql
from labeling.decisions.save import send_decided
from labeling.history.archive import CSV, ExportFiles, opened_export
from labeling.history.classes import ClassList, parse_class_list, refuse_classes, restore_classes, restore_examples
from labeling.history.lines import Line, read_lines
from labeling.history.matching import Items
from labeling.history.parts import AGAIN, FOLDER, ActionText, Part, Restored, parsed, parts
from labeling.history.people import accounts_of, check_names, restore_people
from labeling.history.remarks import FILE as REMARKS
from labeling.history.remarks import parsed_remarks, restore_remarks
from labeling.history.write import Writer
from labeling.models import Action, Dataset

CLASSES, IDLE = f"{FOLDER}/classes.json", f"{FOLDER}/actions.jsonl"
BATCH = 500
Progress = Callable[[int, int], None]


@dataclass
class RestoreReport:
    """Tell what was imported.

    ``changed``: items whose files differ from those of the record; ``people``: new accounts.
    """

    decisions: int = 0
    actions: int = 0
    items: int = 0
    classes: int = 0
    moved: int = 0
    changed: int = 0
    remarks: int = 0
    people: list[str] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass
class RecordPreview:
    """Tell what an import of a record would restore. ``new_people``: those without an account."""

    decisions: int
    items: int
    classes: list[str]
    moved: int
    changed: int
    people: list[str]
    new_people: list[str]

    def as_json(self) -> dict[str, Any]:
        return {"preview": True} | vars(self)


@dataclass
class _Record:
    """Represent a record that was read and checked.

    ``idle``: actions that changed no item, by the decision that they follow.
    """

    files: ExportFiles
    classes: ClassList
    items: Items
    people: set[str]
    idle: dict[int, list[dict[str, Any]]]
    n_decisions: int = 0


def preview_record(dataset: Dataset, source: Path | BinaryIO) -> RecordPreview:
    """Read and check the record of an export. Raises Refusal where :func:`restore` does, but saves nothing."""
    _refuse_decided(dataset)
    refuse_classes(dataset)
    with opened_export(source) as files:
        record = _checked(dataset, files)
    return RecordPreview(
        decisions=record.n_decisions,
        items=len(record.items.ids),
        classes=[label.name for label in record.classes.classes if not label.is_retired],
        moved=record.items.moved,
        changed=len(record.items.changed),
        people=sorted(record.people),
        new_people=sorted(record.people - accounts_of(record.people).keys()),
    )


def restore(
    dataset: Dataset,
    source: Path | BinaryIO,
    progress: Progress = lambda done, total: None,
    *,
    may_create_people: bool = True,
) -> RestoreReport:
    """Import the record of an export. Raises Refusal, and saves nothing, if it is damaged or does not fit.

    Without ``may_create_people`` it is also refused if someone in it has no account.
    """
    _refuse_decided(dataset)
    with opened_export(source) as files:
        record = _checked(dataset, files)
        if not may_create_people:
            _refuse_strangers(record.people)
        with decision_sql.writer_lock(), transaction.atomic():
            # Nobody labels an item of this dataset meanwhile.
            Dataset.objects.select_for_update(no_key=True).get(pk=dataset.pk)
            _refuse_decided(dataset)
            report, counters = _saved(dataset, record, progress)
    if report.decisions:
        send_decided(dataset, counters)
    return report


def _refuse_strangers(people: Collection[str]) -> None:
    if strangers := sorted(set(people) - accounts_of(people).keys()):
        raise Refusal(
            f"The record has {counted(len(strangers), 'person', 'people')} without an account, such as {strangers[0]}.",
            "Ask an administrator to import it: that creates inactive accounts, in which nobody can sign in.",
        )


def _refuse_decided(dataset: Dataset) -> None:
    if Action.objects.filter(dataset=dataset).exists():
        raise Refusal(
            "The dataset has decisions already, and a record is the whole history of a dataset.",
            "Import it into a dataset without decisions, or import labels.csv with hoshina import_labels.",
        )


# -- Reading and checking ---------------------------------------------------------------------------
def _checked(dataset: Dataset, files: ExportFiles) -> _Record:
    for name in (CSV, CLASSES, IDLE, REMARKS, *(part.file for part in (*parts(), *_later_parts(files)))):
        files.check(name)
    record = _Record(files, parse_class_list(files.read(CLASSES)), Items(dataset), set(), {})
    class_ids = {label.id for label in record.classes.classes}
    actions = _Actions()
    for batch in _batches(files):
        record.items.find({line["item_id"]: (line["path"], line["sha256"]) for line in batch})
        record.people.update(name for line in batch for name in (line["annotator"], line["action_by"]) if name)
        for line in batch:
            actions.add(line)
            if line["label_id"] is not None and line["label_id"] not in class_ids:
                raise Refusal(f"Decision {line['number']} has a class that {CLASSES} lacks.", AGAIN)
        record.n_decisions += len(batch)
    for row in files.objects(IDLE):
        actions.add_idle(row)
        record.idle.setdefault(row["after"], []).append(row)
        record.people.update([row["by"]] if row["by"] else [])
    for remark in parsed_remarks(files.objects(REMARKS)):
        record.items.find({remark.item_id: (remark.path, "")})
        record.people.update([remark.by] if remark.by else [])
    _check_later_parts(record)
    if record.items.missing.lines:
        examples = ", ".join(list(record.items.missing.names)[:3])
        raise Refusal(
            f"{record.items.missing.lines:,} images of the record are not in this dataset, such as {examples}.",
            "Add the files to its folder, scan it, and import the record again.",
        )
    if len(set(record.items.ids.values())) < len(record.items.ids):
        raise Refusal("Two images of the record are the same item of this dataset.", "Restore the paths of the files.")
    check_names(record.people)
    actions.refuse_known()
    return record


def _later_parts(files: ExportFiles) -> list[Part]:
    """Return the parts that follow the decisions and that the record has: those of older versions lack them."""
    return [part for part in parts(after_decisions=True) if files.has(part.file)]


def _check_later_parts(record: _Record) -> None:
    """Find the items and people of the parts that follow the decisions. Raises Refusal if a line is damaged."""
    for part in _later_parts(record.files):
        assert part.line is not None
        rows = record.files.objects(part.file)
        while batch := [parsed(row, part.line) for row in islice(rows, BATCH)]:
            record.items.find({line.item_id: (line.path, line.sha256) for line in batch if line.item_id is not None})
            record.people.update(line.by for line in batch if line.by)


def _batches(files: ExportFiles) -> Iterator[list[Line]]:
    lines = read_lines(files.lines(CSV), is_escaped=files.is_escaped)
    while batch := list(islice(lines, BATCH)):
        yield batch


class _Idle(msgspec.Struct):
    """Represent an action that changed no item, as the file has it."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    uuid: UUID
    kind: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(Action.Kind.values)})$")]
    at: str
    by: Annotated[str, msgspec.Meta(max_length=150)]
    holder: Annotated[str, msgspec.Meta(max_length=64)]
    undoes: ActionText


class _Actions:
    """Hold the actions of a record, with 16 bytes each in memory: each occurs once, and undoes an earlier one."""

    def __init__(self) -> None:
        self._last: UUID | None = None
        self._seen: set[int] = set()
        self._undone: set[int] = set()

    def add(self, line: Line) -> None:
        if line["action"] != self._last:
            if line["undoes"] is not None and line["undoes"].int not in self._seen:
                raise Refusal(f"Decision {line['number']} undoes an action that is not before it.", AGAIN)
            self._last = line["action"]
            self._add(line["action"], line["undoes"])

    def add_idle(self, row: dict[str, Any]) -> None:
        idle = parsed(row, _Idle)
        self._add(idle.uuid, UUID(idle.undoes) if idle.undoes else None)

    def _add(self, action: UUID, undoes: UUID | None) -> None:
        if action.int in self._seen or (undoes is not None and undoes.int in self._undone):
            raise Refusal(f"The action {action} occurs twice, or undoes what was undone.", AGAIN)
        self._seen.add(action.int)
        if undoes is not None:
            self._undone.add(undoes.int)

    def refuse_known(self) -> None:
        """Raise Refusal if this store has some of the actions, or one that is undone is missing."""
        if not self._undone <= self._seen:
            raise Refusal("An action undoes another one that the record lacks.", AGAIN)
        for batch in batched(sorted(self._seen), BATCH):
            saved = Action.objects.filter(uuid__in=[UUID(int=value) for value in batch]).select_related("dataset")
            if (first := saved.first()) is not None:
                raise Refusal(
                    f"This store has these decisions already, in the dataset “{first.dataset.name}”.",
                    "Import the record into another store, or delete that dataset first.",
                )


# -- Saving -----------------------------------------------------------------------------------------
def _saved(dataset: Dataset, record: _Record, progress: Progress) -> tuple[RestoreReport, dict[str, int]]:
    users, created = restore_people(record.people)
    restored = Restored(dataset, users)
    restored.ids["classes"] = restore_classes(dataset, record.classes)
    for part in parts():
        restored.ids[part.name] = part.restore(restored, record.files.objects(part.file))
    writer = Writer(restored, record.items.ids, record.idle)
    for batch in _batches(record.files):
        writer.write(batch)
        progress(writer.n_decisions, record.n_decisions)
    counters = writer.finish(record.items.changed)
    restored.items = record.items.ids
    later_parts = _later_parts(record.files)
    for part in later_parts:
        restored.ids[part.name] = part.restore(restored, record.files.objects(part.file))
    restore_examples(dataset, record.classes, restored.ids["classes"])
    remarks = parsed_remarks(record.files.objects(REMARKS))
    n_remarks = restore_remarks(dataset, remarks, record.items.ids, users)
    report = RestoreReport(
        decisions=writer.n_decisions,
        actions=writer.n_actions,
        items=len(record.items.ids),
        classes=len(restored.ids["classes"]),
        moved=record.items.moved,
        changed=len(record.items.changed),
        remarks=n_remarks,
        people=created,
        parts={part.name: len(restored.ids[part.name]) for part in (*parts(), *later_parts)},
    )
    return report, counters
