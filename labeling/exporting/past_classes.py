"""Find out which classes there were at an earlier time, and their names."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from labeling.exporting.past import Past
from labeling.models import ClassChange, Dataset, LabelClass


def classes_at(dataset: Dataset, past: Past | None) -> dict[int, LabelClass]:
    """Return all classes, retired ones included, by ID in their order, with the names of that time; None: today.

    Later changes are undone from the newest to the oldest. A class that is no longer retired then has no key if another
    one has it today. The classes are not to be saved.
    """
    labels = LabelClass.objects.filter(dataset=dataset).in_bulk()
    if past is None:
        return labels
    for change in _changes(dataset).filter(_is_later(past)).order_by("-pk"):
        _undo(change, labels)
    return labels


def changes_at(dataset: Dataset, past: Past | None) -> QuerySet[ClassChange]:
    """Return the changes up to that time in order."""
    found = _changes(dataset).order_by("pk")
    return found if past is None else found.exclude(_is_later(past))


def _changes(dataset: Dataset) -> QuerySet[ClassChange]:
    return ClassChange.objects.filter(label_class__dataset=dataset)


def _is_later(past: Past) -> Q:
    """Return the condition that a change is later. Between two actions, only times tell what was earlier."""
    return Q(after_id__gt=past.action_id) | Q(after_id=past.action_id, changed_at__gt=past.until)


def _undo(change: ClassChange, labels: dict[int, LabelClass]) -> None:
    label = labels[change.label_class_id]
    if change.kind == ClassChange.Kind.ADDED:
        del labels[label.pk]
    elif change.kind == ClassChange.Kind.RENAMED:
        label.name = change.old_name
    else:
        taken = {other.key_name for other in labels.values() if not other.is_retired}
        if label.key_name in taken:
            label.key, label.letter = None, ""
        label.is_retired, label.merged_into = False, None
