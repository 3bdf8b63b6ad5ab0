"""Record how the list of classes changes, so that exports of an earlier time have its classes and names."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from labeling.models import Action, ClassChange, LabelClass


@transaction.atomic
def save_class(label: LabelClass, *, user: User | None) -> None:
    """Save a class, and record that it was added or renamed by ``user`` (None: by a program)."""
    old_name = None if label.pk is None else LabelClass.objects.values_list("name", flat=True).get(pk=label.pk)
    label.save()
    if old_name is None:
        _record(label, ClassChange.Kind.ADDED, user)
    elif old_name != label.name:
        _record(label, ClassChange.Kind.RENAMED, user, old_name)


@transaction.atomic
def retire_class(label: LabelClass, into: LabelClass | None, *, user: User | None) -> None:
    """Retire a class that has no labels, and record it. ``into``: the class that has them now."""
    LabelClass.objects.filter(pk=label.pk).update(is_retired=True, merged_into=into)
    _record(label, ClassChange.Kind.RETIRED, user)


def _record(label: LabelClass, kind: ClassChange.Kind, user: User | None, old_name: str = "") -> None:
    actions = Action.objects.filter(dataset=label.dataset_id).order_by("-pk")
    newest = actions.values_list("pk", flat=True).first()
    ClassChange.objects.create(label_class=label, kind=kind, old_name=old_name, after_id=newest or 0, changed_by=user)


def earlier_names(label: LabelClass) -> list[str]:
    """Return the names that a class had before, the newest first, each once."""
    names = label.changes.filter(kind=ClassChange.Kind.RENAMED).order_by("-pk").values_list("old_name", flat=True)
    return [name for name in dict.fromkeys(names) if name != label.name]
