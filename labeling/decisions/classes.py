"""Add, rename, order, merge and delete classes, and set their keys.

Each function locks the dataset, so that two people who edit the same list get a message and never a broken list.
Classes are never deleted from the database. They are retired, so that the history of decisions keeps their names, while
their names and keys can be used again.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import fields

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from hoshina.core.errors import Refusal
from hoshina.jobs import clock
from labeling.decisions.class_changes import retire_class, save_class
from labeling.decisions.content_changes import mark_content_changed
from labeling.decisions.save import Shown, Tally, write_annotations
from labeling.decisions.sql import items_for_update
from labeling.guide import guides
from labeling.models import Action, Annotation, Dataset, Item, LabelClass, State
from labeling.signals import decided

MAX_NAME = 80
KEYS = range(1, 10)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
# The letters of the workbench's commands (static/js/keys.js). Where a class takes one, the command needs Shift.
COMMAND_LETTERS = frozenset("abcefgilmnopqrstvwxyz")
# Labels moved per transaction. A transaction takes well under a second, so that people can keep labeling.
MOVE_BATCH = 500
_PROVENANCE = ("annotator_id", "decided_at", "seconds", *(field.name for field in fields(Shown)))

# Okabe & Ito (2008) without black, followed by Tol's bright, vibrant and muted sets (2021): distinguishable for
# color-blind people, on dark and light backgrounds.
PALETTE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
    "#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB",
    "#EE7733", "#0077BB", "#33BBEE", "#EE3377", "#CC3311", "#009988",
    "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499",
)  # fmt: skip


class ClassGone(Refusal):
    """The class was deleted or merged in the meantime, perhaps by someone else."""

    def __init__(self, name: str = "") -> None:
        subject = f"“{name}”" if name else "That class"
        super().__init__(f"{subject} was deleted or merged in the meantime.", "This is the current list.")


class KeyTaken(Refusal):
    """The key belongs to the class ``owner``. The user may swap the two keys."""

    def __init__(self, owner: LabelClass) -> None:
        key = owner.key_name.upper()
        super().__init__(f"Key {key} belongs to “{owner.name}”.", "Swap the keys, or choose another key.", field="key")
        self.owner = owner


# -- Names, keys, colors ---------------------------------------------------------------------------
def tidy_name(raw: str) -> str:
    """Return the normalized name: NFC, with runs of white space and control characters replaced by one space.

    Raises Refusal if the name is empty, has only invisible characters, or has more than 80 characters.
    """
    name = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", unicodedata.normalize("NFC", raw)).strip()
    if all(unicodedata.category(character)[0] in "CZ" for character in name):
        raise Refusal("Enter a name for the class.", field="name")
    if len(name) > MAX_NAME:
        raise Refusal(f"The name has {len(name)} characters. Use at most {MAX_NAME}.", field="name")
    return name


def same_word(name: str) -> str:
    """Return the key that names with the same meaning share: NFC, case-insensitive."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def refuse_duplicate(name: str, others: Iterable[LabelClass]) -> None:
    """Raise Refusal if one of ``others`` already has that name."""
    # Compare in Python, because SQLite's lower() supports only ASCII.
    for other in others:
        if same_word(other.name) == same_word(name):
            raise Refusal(f"The class “{other.name}” already exists. Choose another name.", field="name")


def next_key(taken: Collection[int | None]) -> int | None:
    """Return the lowest free key from 1 to 9, or None if all are taken."""
    return next((key for key in KEYS if key not in taken), None)


def suggested_letter(name: str, present: Iterable[LabelClass]) -> str:
    """Return a letter for a class: one of its name that neither a class nor a command has, else another; "" if none."""
    taken = {label.letter for label in present} | COMMAND_LETTERS
    return next((letter for letter in [*name.casefold(), *LETTERS] if letter in LETTERS and letter not in taken), "")


def next_color(taken: Iterable[str]) -> str:
    """Return the first of the least used colors of the palette."""
    uses = Counter(color.upper() for color in taken)
    return min(PALETTE, key=lambda color: uses[color])


# -- Changing the list ------------------------------------------------------------------------------
def lock(dataset_id: int) -> Dataset:
    """Lock the dataset until the transaction ends, so that its classes change one at a time, and return it."""
    return Dataset.objects.select_for_update(no_key=True).get(pk=dataset_id)


def _current(label_class: LabelClass) -> LabelClass:
    """Return the current state of the class. Raises :class:`ClassGone` if it is retired."""
    current = LabelClass.objects.active().filter(pk=label_class.pk).first()
    if current is None:
        raise ClassGone(label_class.name)
    return current


def _save(label_class: LabelClass, user: User | None) -> LabelClass:
    """Save the class. Raises Refusal if the database refuses it, whose lower() may fold more than ours."""
    try:
        with transaction.atomic():
            save_class(label_class, user=user)
    except IntegrityError as error:
        raise Refusal("Another class has that name or key. Choose another one.", field="name") from error
    return label_class


@transaction.atomic
def add(dataset: Dataset, name: str, *, colour: str = "", user: User | None = None) -> LabelClass:
    """Add a class at the end, with the next color and digit, or without a free one a letter that no command has.

    Raises Refusal if its name is empty, too long or taken.
    """
    lock(dataset.pk)
    name = tidy_name(name)
    present = list(LabelClass.objects.active().filter(dataset=dataset))
    refuse_duplicate(name, present)
    key = next_key({label.key for label in present})
    return _save(
        LabelClass(
            dataset=dataset,
            name=name,
            colour=colour or next_color(label.colour for label in present),
            key=key,
            letter="" if key else suggested_letter(name, present),
            order=max((label.order for label in present), default=-1) + 1,
        ),
        user,
    )


@transaction.atomic
def copy(source: Dataset, target: Dataset, *, user: User | None = None) -> list[LabelClass]:
    """Add the classes of another dataset, with their colors, order and descriptions; keys follow from the order.

    Raises Refusal if one of the names is taken; none is added then.
    """
    present = LabelClass.objects.active().filter(dataset=source)
    copied = {label: add(target, label.name, colour=label.colour, user=user) for label in present}
    guides.copy(copied)
    return list(copied.values())


@transaction.atomic
def edit(
    label_class: LabelClass,
    *,
    name: str,
    colour: str,
    key: int | None,
    letter: str = "",
    swap: bool = False,
    user: User | None = None,
) -> LabelClass:
    """Change the name, color and key of a class: a digit or a letter. Its labels follow a new name.

    With ``swap``, the current owner of the key gets this class's key in exchange. Raises Refusal if the name is empty,
    too long or taken, KeyTaken if another class has the key and ``swap`` is false, and ClassGone if the class was
    deleted or merged in the meantime.
    """
    lock(label_class.dataset_id)
    current = _current(label_class)
    name = tidy_name(name)
    others = list(LabelClass.objects.active().filter(dataset_id=current.dataset_id).exclude(pk=current.pk))
    refuse_duplicate(name, others)
    owner = owner_of_key(others, key, letter)
    if owner is not None and not swap:
        raise KeyTaken(owner)
    freed = {"key": current.key, "letter": current.letter}
    if owner is not None:
        LabelClass.objects.filter(pk=owner.pk).update(key=None, letter="")
    current.name, current.colour, current.key, current.letter = name, colour, key, letter
    _save(current, user)
    if owner is not None:
        LabelClass.objects.filter(pk=owner.pk).update(**freed)
    return current


def owner_of_key(classes: Iterable[LabelClass], key: int | None, letter: str) -> LabelClass | None:
    """Return the class among ``classes`` that has this digit or letter."""
    name = letter if key is None else str(key)
    return next((label for label in classes if name and label.key_name == name), None)


@transaction.atomic
def move(label_class: LabelClass, by: int) -> None:
    """Move the class down the list by ``by`` positions (up if negative), at most to the end of the list."""
    lock(label_class.dataset_id)
    current = _current(label_class)
    ranked = list(LabelClass.objects.active().filter(dataset_id=current.dataset_id))
    position = ranked.index(current)
    ranked.insert(max(0, min(len(ranked) - 1, position + by)), ranked.pop(position))
    for order, label in enumerate(ranked):
        label.order = order
    LabelClass.objects.bulk_update(ranked, ["order"], batch_size=200)


# -- Moving labels ----------------------------------------------------------------------------------
def merge(source: LabelClass, target: LabelClass, *, user: User | None, holder: str = "") -> int:
    """Move all labels of ``source`` to ``target`` and retire ``source``. Return the number of labels moved.

    Raises Refusal if the classes are the same or belong to different datasets, and ClassGone if either class was
    deleted or merged in the meantime.
    """
    if source.pk == target.pk or source.dataset_id != target.dataset_id:
        raise Refusal("Choose another class of the same dataset.", field="target")
    return _retire(source, target, user=user, holder=holder)


def delete(source: LabelClass, *, user: User | None, holder: str = "") -> int:
    """Retire ``source``, clear its labels and return their number. Raises ClassGone if it was deleted or merged."""
    return _retire(source, None, user=user, holder=holder)


def _retire(source: LabelClass, target: LabelClass | None, *, user: User | None, holder: str) -> int:
    """Move the labels in batches, and retire the class in the transaction of the last batch.

    A retired class therefore never has items. If the process is killed, the class is still listed with its remaining
    labels, and the same request finishes the work. Each batch is a separate action, because the items' state is derived
    from all annotations of an action, and items may get new decisions between batches.
    """
    moved = 0
    while True:
        with transaction.atomic():
            ids = list(source.items.order_by("row").values_list("pk", flat=True)[:MOVE_BATCH])
            # Lock items before the dataset, as saving decisions does, to avoid deadlocks.
            items = items_for_update(Dataset(pk=source.dataset_id), ids)
            dataset = lock(source.dataset_id)
            current = _current(source)
            into = None if target is None else _current(target)
            labeled = {pk: item for pk, item in items.items() if item.label_id == current.pk}
            if labeled:
                action = Action.objects.create(
                    uuid=uuid.uuid4(), dataset=dataset, kind=Action.Kind.MERGE, annotator=user, holder=holder
                )
                _move_labels(action, labeled, into)
            moved += len(labeled)
            # Check again, because this label may have been given to items between the query and the lock.
            is_last = not current.items.exists()
            if is_last:
                retire_class(current, into, user=user)
                guides.forget(current) if into is None else guides.merge(current, into)
        if is_last:
            break
    decided.send(sender=Dataset, dataset_id=dataset.pk, n_decisions=dataset.n_decisions + len(labeled))
    return moved


def _move_labels(action: Action, items: dict[int, Item], into: LabelClass | None) -> None:
    """Move one batch of labels. They keep their annotators and provenance, because only the class changes."""
    earlier = Annotation.objects.in_bulk([item.decision_id for item in items.values() if item.decision_id])
    tally = Tally(action.dataset)
    now = clock.now()
    annotations = []
    for item in items.values():
        moved = Annotation(
            item=item,
            state=State.UNLABELLED if into is None else State.LABELLED,
            label=into,
            previous_id=item.decision_id,
            annotator=action.annotator,
            decided_at=now,
        )
        decision = earlier.get(item.decision_id or 0)
        if into is not None and decision is not None:
            for name in _PROVENANCE:
                setattr(moved, name, getattr(decision, name))
        annotations.append(moved)
    changed = [pk for pk, item in items.items() if item.is_content_changed]
    write_annotations(action, annotations, items, tally)
    mark_content_changed(changed)  # their new content has not been checked yet
    tally.write()
