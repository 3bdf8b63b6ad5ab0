"""Read and change the class guide: descriptions, examples, and classes that are easily confused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils.safestring import SafeString

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from labeling.guide.markdown import html_of
from labeling.models import (
    MAX_DESCRIPTION,
    MAX_DIFFERENCE,
    ClassConfusion,
    ClassExample,
    ClassGuide,
    Dataset,
    Frame,
    Item,
    LabelClass,
    State,
)

MAX_EXAMPLES = 12


@dataclass(frozen=True)
class Confusion:
    """Name another class that a class is easily confused with, and the difference; "" if nobody wrote it down."""

    label: LabelClass
    difference: str


@dataclass(frozen=True)
class Guide:
    """Hold the guide of a class. ``examples`` are frames of the example items, with their ``item``."""

    label: LabelClass
    description: str = ""
    examples: list[Frame] = field(default_factory=list)
    confusions: list[Confusion] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.description or self.examples or self.confusions)

    def has_example(self, item: Item) -> bool:
        """Return whether an item is one of the examples."""
        return any(frame.item_id == item.pk for frame in self.examples)

    @property
    def version(self) -> str:
        """Return a hash of what the form edits, to notice that someone else changed it."""
        edited = [self.description, *sorted((each.label.pk, each.difference) for each in self.confusions)]
        return hashlib.sha256(repr(edited).encode()).hexdigest()[:16]

    @property
    def html(self) -> SafeString:
        """Return the description as HTML."""
        return html_of(self.description)


# -- Reading ----------------------------------------------------------------------------------------
def guides_of(
    dataset: Dataset, labels: Iterable[LabelClass] | None = None, classes: Iterable[LabelClass] | None = None
) -> list[Guide]:
    """Return the guides of the dataset's classes, or of ``labels`` among them, by a fixed number of queries.

    ``classes`` are the classes of the dataset that are in use, if they were read before.
    """
    in_use = LabelClass.objects.active().filter(dataset=dataset) if classes is None else classes
    present = {label.pk: label for label in in_use}
    wanted = list(present.values()) if labels is None else [label for label in labels if label.pk in present]
    descriptions = dict(ClassGuide.objects.filter(label_class__in=wanted).values_list("pk", "description"))
    guides = {label.pk: Guide(label, descriptions.get(label.pk, "")) for label in wanted}
    class_of = dict(examples_of(wanted).values_list("item_id", "label_class_id"))
    for frame in first_frames(dataset, list(class_of)):
        guides[class_of[frame.item_id]].examples.append(frame)
    for pair in _confusions_of(wanted):
        for pk, other in ((pair.first_id, pair.second_id), (pair.second_id, pair.first_id)):
            if pk in guides and other in present:
                guides[pk].confusions.append(Confusion(present[other], pair.difference))
    return list(guides.values())


def guide_of(label: LabelClass, classes: Iterable[LabelClass] | None = None) -> Guide:
    """Return the guide of a class; empty if it is no longer in use. ``classes`` as for `guides_of`."""
    found = guides_of(label.dataset, [label], classes)
    return found[0] if found else Guide(label)


def examples_of(labels: Iterable[LabelClass]) -> QuerySet[ClassExample]:
    """Return the examples of classes in the order in which they were chosen: items that still have that label."""
    chosen = ClassExample.objects.filter(label_class__in=[label.pk for label in labels])
    return chosen.filter(item__label=F("label_class"), item__state=State.LABELLED).order_by("pk")


def first_frames(dataset: Dataset, item_ids: Sequence[int]) -> list[Frame]:
    """Return the frame of each item that stands for it, of the first role, in the order of the items.

    If items have several frames, ``frame.item.frames`` has been read as well, for pages that show all of them.
    """
    place = {role: number for number, role in enumerate(dataset.roles)}
    frames: dict[int, Frame] = {}
    read = Frame.objects.filter(item__in=item_ids).select_related("item").order_by("pk")
    for frame in read.prefetch_related("item__frames") if dataset.roles else read:
        present = frames.get(frame.item_id)
        if present is None or place.get(frame.role, len(place)) < place.get(present.role, len(place)):
            frames[frame.item_id] = frame
    return [frames[pk] for pk in item_ids if pk in frames]


def _confusions_of(labels: Iterable[LabelClass]) -> QuerySet[ClassConfusion]:
    pks = [label.pk for label in labels]
    return ClassConfusion.objects.filter(Q(first__in=pks) | Q(second__in=pks))


def manifest_of(dataset: Dataset, classes: Iterable[LabelClass]) -> list[dict[str, object]]:
    """Return the guide of these classes for the manifest of an export; empty if nobody has written one."""
    return [
        {
            "class": guide.label.name,
            "description": guide.description,
            "examples": [frame.item.path for frame in guide.examples],
            "not_to_be_confused_with": [
                {"class": confusion.label.name, "difference": confusion.difference} for confusion in guide.confusions
            ],
        }
        for guide in guides_of(dataset, classes=classes)
        if not guide.is_empty
    ]


# -- Writing ----------------------------------------------------------------------------------------
@transaction.atomic
def save(label: LabelClass, description: str, confusions: Mapping[int, str], *, seen: str | None = None) -> set[int]:
    """Set the description of a class and the classes (by id) it is confused with. Raises Refusal.

    ``seen`` is the version that the person edited: a guide that someone changed in the meantime is not overwritten.
    Returns the ids of all classes whose guide may have changed.
    """
    description, differences = tidy(description), {pk: " ".join(tidy(text).split()) for pk, text in confusions.items()}
    if len(description) > MAX_DESCRIPTION:
        message = f"The description has {len(description):,} characters."
        raise Refusal(message, f"Use at most {MAX_DESCRIPTION:,}.", field="description")
    if any(len(text) > MAX_DIFFERENCE for text in differences.values()):
        raise Refusal(f"A difference has more than {MAX_DIFFERENCE} characters.", "Shorten it.", field="difference")
    others = LabelClass.objects.active().filter(dataset=label.dataset_id, pk__in=differences).exclude(pk=label.pk)
    if others.count() < len(differences):
        raise Refusal("A class was deleted or merged in the meantime.", "Choose another one.", field="confused")
    Dataset.objects.select_for_update(no_key=True).get(pk=label.dataset_id)  # one change at a time, as of classes
    if seen is not None and guide_of(label).version != seen:
        raise Refusal("Someone changed this guide in the meantime.", "Save again to replace it with your text.")
    _set_description(label, description)
    before = {pk for pair in _confusions_of([label]) for pk in (pair.first_id, pair.second_id)}
    _confusions_of([label]).delete()
    ClassConfusion.objects.bulk_create(_pair(label.pk, pk, text) for pk, text in differences.items())
    return {label.pk} | before | set(differences)


def tidy(text: str) -> str:
    """Return a text with newlines of one kind, and without null characters, which PostgreSQL refuses."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").strip()


def _set_description(label: LabelClass, description: str) -> None:
    if description:
        ClassGuide.objects.update_or_create(label_class=label, defaults={"description": description})
    else:
        ClassGuide.objects.filter(label_class=label).delete()


def _pair(pk: int, other_pk: int, difference: str) -> ClassConfusion:
    first, second = sorted((pk, other_pk))
    return ClassConfusion(first_id=first, second_id=second, difference=difference)


@transaction.atomic
def add_examples(dataset: Dataset, item_ids: Iterable[int]) -> list[int]:
    """Make labeled items examples of their classes. Raises Refusal.

    Returns the id of the class of each new example.
    """
    found = Item.objects.of(dataset).filter(pk__in=item_ids, state=State.LABELLED).select_related("label")
    labels = {item.pk: item.label for item in found.order_by("row") if item.label is not None}
    if not labels:
        raise Refusal("These images have no label.", "Label them first. Examples show the class that they have.")
    present = set(examples_of(labels.values()).values_list("item_id", flat=True))
    new = {pk: label for pk, label in labels.items() if pk not in present}
    ClassExample.objects.filter(item__in=new).delete()  # of the class that they had before
    chosen = (ClassExample(item_id=pk, label_class=label) for pk, label in new.items())
    ClassExample.objects.bulk_create(chosen, ignore_conflicts=True)  # another request may have been faster
    for label in set(labels.values()):
        if examples_of([label]).count() > MAX_EXAMPLES:
            message = f"“{label.name}” would have more than {counted(MAX_EXAMPLES, 'example')}."
            raise Refusal(message, "Remove some in the class guide first.")
    return [label.pk for label in new.values()]


def remove_examples(dataset: Dataset, item_ids: Iterable[int]) -> list[int]:
    """Stop using items as examples. Return the id of the class of each example removed."""
    examples = ClassExample.objects.filter(item__dataset=dataset, item__in=item_ids)
    label_ids = list(examples.values_list("label_class", flat=True))
    examples.delete()
    return label_ids


# -- When classes change ----------------------------------------------------------------------------
def copy(labels: Mapping[LabelClass, LabelClass]) -> None:
    """Copy descriptions and confusions from classes of one dataset to the classes of another. Items stay."""
    copied = {source.pk: target.pk for source, target in labels.items()}
    guides = ClassGuide.objects.filter(label_class__in=copied)
    ClassGuide.objects.bulk_create(
        ClassGuide(label_class_id=copied[guide.pk], description=guide.description) for guide in guides
    )
    pairs = [pair for pair in _confusions_of(labels) if pair.first_id in copied and pair.second_id in copied]
    ClassConfusion.objects.bulk_create(
        _pair(copied[pair.first_id], copied[pair.second_id], pair.difference) for pair in pairs
    )


def merge(source: LabelClass, target: LabelClass) -> None:
    """Give the guide of a class to the class that its labels were moved to. Called in a transaction.

    The descriptions are joined if that is not too long; the retired class keeps its own.
    """
    texts = dict(ClassGuide.objects.filter(label_class__in=(source, target)).values_list("pk", "description"))
    joined = "\n\n".join(texts[pk] for pk in (target.pk, source.pk) if pk in texts)
    if source.pk in texts and len(joined) <= MAX_DESCRIPTION:
        _set_description(target, joined)
    free = max(0, MAX_EXAMPLES - examples_of([target]).count())
    moved = ClassExample.objects.filter(label_class=source, item__label=target, item__state=State.LABELLED)
    first_free = list(moved.order_by("pk").values_list("pk", flat=True)[:free])
    ClassExample.objects.filter(pk__in=first_free).update(label_class=target)
    resembled = {target.pk} | {pk for pair in _confusions_of([target]) for pk in (pair.first_id, pair.second_id)}
    for pair in _confusions_of([source]):
        other = pair.second_id if pair.first_id == source.pk else pair.first_id
        if other not in resembled:
            _pair(target.pk, other, pair.difference).save()
    forget(source)


def forget(label: LabelClass) -> None:
    """Delete the examples and confusions of a class that was merged or deleted. The row of its description stays."""
    ClassExample.objects.filter(label_class=label).delete()
    _confusions_of([label]).delete()
