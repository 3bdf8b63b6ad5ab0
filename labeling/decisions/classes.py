"""Classes: adding, renaming, ordering, keys, merging and deleting.

Each function takes the dataset's lock, so that two people editing the same list see words and never a broken
list. A class is never deleted from the database: it is retired, so that the history of decisions keeps its
name, and its name and key are free again.
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
from django.utils import timezone

from labeling.decisions.content_changes import mark_content_changed
from labeling.decisions.save import Shown, Tally, write_annotations
from labeling.decisions.sql import items_for_update
from labeling.models import Action, Annotation, Dataset, Item, LabelClass, State
from labeling.signals import decided

MAX_NAME = 80
KEYS = range(1, 10)
# Labels moved in one transaction: short enough (well under a second) that people go on labelling meanwhile.
MOVE_BATCH = 500
_PROVENANCE = ("annotator_id", "decided_at", "seconds", *(one.name for one in fields(Shown)))

# Okabe & Ito (2008) without black, then Tol's bright, vibrant and muted sets (2021): told apart by
# colour-blind eyes too, on dark and light ground.
PALETTE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
    "#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB",
    "#EE7733", "#0077BB", "#33BBEE", "#EE3377", "#CC3311", "#009988",
    "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499",
)  # fmt: skip


class ClassProblem(Exception):
    """Why a change of the classes is refused: ``words`` for the person, at the form's ``field``."""

    def __init__(self, words: str, field: str = "name") -> None:
        super().__init__(words)
        self.words = words
        self.field = field


class ClassGone(ClassProblem):
    """The class was deleted or merged meanwhile, perhaps by someone else."""

    def __init__(self, name: str = "") -> None:
        called = f"“{name}”" if name else "That class"
        super().__init__(f"{called} was deleted or merged meanwhile. This is the list as it is now.", "")


class KeyTaken(ClassProblem):
    """The key belongs to ``owner``; the person may swap the two."""

    def __init__(self, key: int, owner: LabelClass) -> None:
        super().__init__(f"Key {key} belongs to “{owner.name}”.", "key")
        self.owner = owner


# -- Names, keys, colours ---------------------------------------------------------------------------
def tidy_name(raw: str) -> str:
    """The name as it is kept: NFC, one space for any run of white space or control characters.

    Raises
    ------
    ClassProblem
        The name is empty (or has invisible characters only) or longer than 80 characters.
    """
    name = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", unicodedata.normalize("NFC", raw)).strip()
    if all(unicodedata.category(character)[0] in "CZ" for character in name):
        raise ClassProblem("Give the class a name.")
    if len(name) > MAX_NAME:
        raise ClassProblem(f"That name has {len(name)} characters; at most {MAX_NAME} fit.")
    return name


def same_word(name: str) -> str:
    """What two names share when they are the same word: NFC, without regard to case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def refuse_duplicate(name: str, others: Iterable[LabelClass]) -> None:
    """Raises :class:`ClassProblem` where one of ``others`` already has that name."""
    # In Python, as SQLite's lower() knows ASCII only.
    for other in others:
        if same_word(other.name) == same_word(name):
            raise ClassProblem(f"There is already a class “{other.name}”.")


def next_key(taken: Collection[int | None]) -> int | None:
    """The lowest free key of 1-9; None when all are taken."""
    return next((key for key in KEYS if key not in taken), None)


def next_colour(taken: Iterable[str]) -> str:
    """The first colour of the palette that is used least."""
    uses = Counter(colour.upper() for colour in taken)
    return min(PALETTE, key=lambda colour: uses[colour])


# -- Changing the list ------------------------------------------------------------------------------
def lock(dataset_id: int) -> Dataset:
    """The dataset, held until the transaction ends: one change of its classes at a time."""
    return Dataset.objects.select_for_update(no_key=True).get(pk=dataset_id)


def _still_there(label_class: LabelClass) -> LabelClass:
    """The class as the database has it now, or :class:`ClassGone`."""
    found = LabelClass.objects.active().filter(pk=label_class.pk).first()
    if found is None:
        raise ClassGone(label_class.name)
    return found


def _save(label_class: LabelClass) -> LabelClass:
    """Saves; what the database's own rules refuse (its lower() may fold more than ours) is said in words."""
    try:
        with transaction.atomic():
            label_class.save()
    except IntegrityError as error:
        raise ClassProblem("Another class has that name or key.") from error
    return label_class


@transaction.atomic
def add(dataset: Dataset, name: str, *, colour: str = "") -> LabelClass:
    """A new class at the end of the list, with the next free key (or none) and the next colour.

    Raises
    ------
    ClassProblem
        The name is empty, too long or taken.
    """
    lock(dataset.pk)
    name = tidy_name(name)
    present = list(LabelClass.objects.active().filter(dataset=dataset))
    refuse_duplicate(name, present)
    return _save(
        LabelClass(
            dataset=dataset,
            name=name,
            colour=colour or next_colour(one.colour for one in present),
            key=next_key({one.key for one in present}),
            order=max((one.order for one in present), default=-1) + 1,
        )
    )


@transaction.atomic
def edit(label_class: LabelClass, *, name: str, colour: str, key: int | None, swap: bool = False) -> LabelClass:
    """Renames, recolours and sets the key. Labels point at the class, so they follow a new name.

    With ``swap``, the owner of a taken key gets this class's key in exchange.

    Raises
    ------
    ClassProblem
        The name is empty, too long or taken.
    KeyTaken
        Another class has the key and ``swap`` was not asked for.
    ClassGone
        The class was deleted or merged meanwhile.
    """
    lock(label_class.dataset_id)
    found = _still_there(label_class)
    name = tidy_name(name)
    others = list(LabelClass.objects.active().filter(dataset_id=found.dataset_id).exclude(pk=found.pk))
    refuse_duplicate(name, others)
    owner = next((other for other in others if key is not None and other.key == key), None)
    if owner is not None and not swap:
        raise KeyTaken(owner.key or 0, owner)
    freed = found.key
    if owner is not None:
        LabelClass.objects.filter(pk=owner.pk).update(key=None)
    found.name, found.colour, found.key = name, colour, key
    _save(found)
    if owner is not None:
        LabelClass.objects.filter(pk=owner.pk).update(key=freed)
    return found


@transaction.atomic
def move(label_class: LabelClass, by: int) -> None:
    """Moves the class ``by`` places down the list (negative: up); past an end it stays at the end."""
    lock(label_class.dataset_id)
    found = _still_there(label_class)
    ranked = list(LabelClass.objects.active().filter(dataset_id=found.dataset_id))
    place = ranked.index(found)
    ranked.insert(max(0, min(len(ranked) - 1, place + by)), ranked.pop(place))
    for order, one in enumerate(ranked):
        one.order = order
    LabelClass.objects.bulk_update(ranked, ["order"], batch_size=200)


# -- Moving labels ----------------------------------------------------------------------------------
def merge(source: LabelClass, target: LabelClass, *, user: User | None, holder: str = "") -> int:
    """Gives all labels of ``source`` to ``target`` and retires ``source``. Returns how many labels moved.

    Raises
    ------
    ClassProblem
        The two are the same class or of different datasets.
    ClassGone
        Either was deleted or merged meanwhile.
    """
    if source.pk == target.pk or source.dataset_id != target.dataset_id:
        raise ClassProblem("Choose another class of the same dataset.", "target")
    return _retire(source, target, user=user, holder=holder)


def delete(source: LabelClass, *, user: User | None, holder: str = "") -> int:
    """Retires ``source``; its items are unlabelled again. Returns how many items that were.

    Raises
    ------
    ClassGone
        It was deleted or merged meanwhile.
    """
    return _retire(source, None, user=user, holder=holder)


def _retire(source: LabelClass, target: LabelClass | None, *, user: User | None, holder: str) -> int:
    """Moves the labels batch by batch; the last batch and the retirement are one transaction.

    So a retired class never has items; killed half-way, the class is still listed with what is left of its
    labels, and the same request again finishes the work. Each batch is an action of its own, since the items'
    state is derived from all annotations of an action, and people may decide anew between two batches.
    """
    moved = 0
    while True:
        with transaction.atomic():
            ids = list(source.items.order_by("row").values_list("pk", flat=True)[:MOVE_BATCH])
            # Items before the dataset, as whoever saves a decision takes them: nobody waits in a circle.
            items = items_for_update(Dataset(pk=source.dataset_id), ids)
            dataset = lock(source.dataset_id)
            found = _still_there(source)
            into = None if target is None else _still_there(target)
            ours = {pk: item for pk, item in items.items() if item.label_id == found.pk}
            if ours:
                action = Action.objects.create(
                    uuid=uuid.uuid4(), dataset=dataset, kind=Action.Kind.MERGE, annotator=user, holder=holder
                )
                _move_labels(action, ours, into)
            moved += len(ours)
            # Asked anew: somebody may have given this label between the first line and the lock.
            is_last = not found.items.exists()
            if is_last:
                LabelClass.objects.filter(pk=found.pk).update(is_retired=True, merged_into=into)
        if is_last:
            break
    if moved:
        decided.send(sender=Dataset, dataset_id=dataset.pk, n_decisions=dataset.n_decisions + len(ours))
    return moved


def _move_labels(action: Action, items: dict[int, Item], into: LabelClass | None) -> None:
    """One batch. A moved label keeps who decided it and how its item was shown: only the word changed."""
    earlier = Annotation.objects.in_bulk([item.decision_id for item in items.values() if item.decision_id])
    tally = Tally(action.dataset)
    now = timezone.now()
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
    mark_content_changed(changed)  # nobody has looked at their new content
    tally.write()
