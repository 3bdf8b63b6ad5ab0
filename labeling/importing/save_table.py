"""Import the decisions of a file. The whole file is read and checked before anything is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from django.contrib.auth.models import User
from django.db import transaction

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal
from labeling.decisions import classes
from labeling.decisions.save import Decision, record_import
from labeling.exporting.rows import unsure_at_any_time
from labeling.importing.class_spellings import Spellings, match_labels
from labeling.importing.columns import Choice
from labeling.importing.extra_fields import ExtraFields
from labeling.importing.label_table import Layout, layout_of
from labeling.importing.plan import NO_LABEL, Plan, planned
from labeling.importing.remarks import check_remarks, save_remarks
from labeling.importing.report import Report
from labeling.importing.survey import count_unknown, survey
from labeling.importing.undo import id_of, new_holder
from labeling.models import Dataset, LabelClass, State
from labeling.tables.encoding import seekable
from labeling.tables.item_lookup import IN_BATCH

__all__ = ["Report", "import_labels", "preview_labels"]

BATCH = 2000
MAX_NEW_CLASSES = 2000
Progress = Callable[[int, int], None]


def import_labels(
    dataset: Dataset,
    stream: BinaryIO,
    *,
    user: User | None,
    create_classes: bool = False,
    choice: Choice = Choice(),  # noqa: B008 - frozen
    progress: Progress = lambda done, total: None,
) -> Report:
    """Apply the decisions of a file. Importing a file again changes nothing.

    A label makes an item labeled. Without a label, ``skipped`` makes it skipped and ``was_unsure`` unsure. A labeled or
    skipped item with ``was_unsure`` also gets that mark in its history. If several lines are about the same item, the
    last one applies. ``path`` has precedence over ``item_id``.

    An annotator whose name an account has made the decision; other names are kept in a metadata field, as are
    confidences and the columns chosen as fields. Tags and notes are added.

    The whole file is read and checked before anything is saved. Needs up to 270 bytes of memory per line.
    ``progress(done, total)`` counts saved items. Raises Refusal if the file can't be read or is invalid. Nothing is
    imported then.
    """
    with seekable(stream) as table:
        checked = _checked(dataset, table, choice, create=create_classes)
        plan, report = checked.plan, checked.report
        survey(dataset, plan, checked.label_ids, checked.names, report)
        count_unknown(plan, checked.label_ids, report)
        report.applied = report.unchanged = 0
        with transaction.atomic():  # all classes and fields, or none
            label_ids = _with_created(dataset, checked, user) if create_classes else checked.label_ids
            report.fields = checked.fields.save()
    _save(dataset, plan, label_ids, user, report, progress)
    report.n_remarks = save_remarks(dataset, plan.remarks, user)
    return report


def preview_labels(
    dataset: Dataset,
    stream: BinaryIO,
    *,
    choice: Choice = Choice(),  # noqa: B008 - frozen
    create_classes: bool = False,
) -> Report:
    """Return the report that :func:`import_labels` would give, without saving anything."""
    with seekable(stream) as table:
        checked = _checked(dataset, table, choice, create=create_classes)
        report = checked.report
        report.fields = checked.fields.names
    survey(dataset, checked.plan, checked.label_ids, checked.names, report)
    count_unknown(checked.plan, checked.label_ids, report)
    if create_classes:
        report.created_classes = list(checked.names.values())
    report.n_remarks = len(checked.plan.remarks)
    return report


@dataclass
class _Checked:
    """Represent a file that was read and checked.

    ``label_ids``: negative for classes that will be created; ``names``: theirs.
    """

    layout: Layout
    plan: Plan
    report: Report
    label_ids: dict[int, int]
    names: dict[int, str]
    fields: ExtraFields


def _checked(dataset: Dataset, stream: BinaryIO, choice: Choice, *, create: bool) -> _Checked:
    layout = layout_of(stream, choice)
    plan, report = planned(dataset, stream, layout)
    names = list(plan.annotators)
    accounts = dict(User.objects.filter(username__in=names[:MAX_NEW_CLASSES]).values_list("username", "pk"))
    plan.users = {number: accounts.get(name) for name, number in plan.annotators.items()}
    report.unknown_annotators = [name for name in names if name not in accounts]
    spellings = _spellings(dataset, plan, report, choice, create=create)
    label_ids, new_names = dict(spellings.class_of), dict[int, str]()
    if create:
        missing = _missing(plan, spellings, report)
        new_names = {-1 - number: plan.labels[number] for number in missing}
        label_ids |= {number: -1 - first for number, first in spellings.same_as.items()}
    check_remarks(plan.remarks)
    fields = ExtraFields(dataset, stream, layout, plan.key, report)
    fields.check()
    return _Checked(layout, plan, report, label_ids, new_names, fields)


# -- Classes ----------------------------------------------------------------------------------------
def _spellings(dataset: Dataset, plan: Plan, report: Report, choice: Choice, *, create: bool) -> Spellings:
    existing = {label.name: label.pk for label in LabelClass.objects.active().filter(dataset=dataset)}
    used = set(plan.label_of) - {NO_LABEL}
    spellings = match_labels(plan.labels, used, existing, choice.same_numbers, may_create=create)
    report.merged = spellings.merged
    return spellings


def _missing(plan: Plan, spellings: Spellings, report: Report) -> list[int]:
    """Return the index of each label that names a new class. Raises Refusal for too many, or a name that can't be."""
    missing = sorted(set(spellings.same_as.values()))
    if len(missing) > MAX_NEW_CLASSES:
        raise Refusal(
            f"The file names {len(missing)} new classes. At most {MAX_NEW_CLASSES} are created. "
            f"Is {report.label_column!r} the right column? Choose another with --label COLUMN."
        )
    for number in missing:
        try:
            classes.tidy_name(plan.labels[number])
        except Refusal as problem:
            raise _class_refusal(plan.labels[number], problem) from problem
    return missing


def _class_refusal(name: str, problem: Refusal) -> Refusal:
    return Refusal(f"The class {name[:100]!r} can't be created: {problem}")


def _with_created(dataset: Dataset, checked: _Checked, user: User | None) -> dict[int, int]:
    """Create all missing classes, or none of them, and return the class ID of each label index."""
    created: dict[int, LabelClass] = {}
    with transaction.atomic():
        for number, name in checked.names.items():
            try:
                created[number] = classes.add(dataset, name, user=user)
            except Refusal as problem:
                raise _class_refusal(name, problem) from problem
    checked.report.created_classes = [label.name for label in created.values()]
    return {
        number: created[pk].pk if pk in created else pk
        for number, pk in checked.label_ids.items()
    }  # fmt: skip


# -- Saving -----------------------------------------------------------------------------------------
def _save(
    dataset: Dataset,
    plan: Plan,
    label_ids: Mapping[int, int],
    user: User | None,
    report: Report,
    progress: Progress,
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
