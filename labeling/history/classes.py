"""Write the classes of a dataset with all that people set, retired ones included, and restore them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from django.core.exceptions import ValidationError

from hoshina.core.errors import Refusal
from labeling.exporting.past import Past
from labeling.exporting.past_classes import classes_at
from labeling.history.archive import NUL
from labeling.history.ids import free_ids, reset_sequence
from labeling.models import (
    MAX_DESCRIPTION,
    MAX_DIFFERENCE,
    ClassConfusion,
    ClassExample,
    ClassGuide,
    Dataset,
    Item,
    LabelClass,
)

_TEXTS = ("description", "license", "citation")
_Id = Annotated[int, msgspec.Meta(ge=1, le=2**62)]


class _Class(msgspec.Struct):
    id: _Id
    name: Annotated[str, msgspec.Meta(max_length=80)]
    colour: Annotated[str, msgspec.Meta(pattern="^#[0-9a-fA-F]{6}$")]
    key: Annotated[int, msgspec.Meta(ge=1, le=9)] | None
    letter: Annotated[str, msgspec.Meta(pattern="^[a-z]?$")]
    order: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    is_retired: bool
    merged_into: _Id | None
    description: Annotated[str, msgspec.Meta(max_length=MAX_DESCRIPTION)]


class _Confusion(msgspec.Struct):
    first: _Id
    second: _Id
    difference: Annotated[str, msgspec.Meta(max_length=MAX_DIFFERENCE)]


class _Example(msgspec.Struct):
    label: _Id
    path: str


class ClassList(msgspec.Struct):
    """Hold the file ``history/classes.json``: classes, confusions, examples, and the dataset's texts."""

    classes: list[_Class]
    confusions: list[_Confusion]
    examples: list[_Example]
    dataset: dict[str, str]


def class_list(dataset: Dataset, past: Past | None) -> dict[str, Any]:
    """Return the classes of that time as ``history/classes.json`` has them."""
    labels = classes_at(dataset, past)
    texts = dict(ClassGuide.objects.filter(label_class__dataset=dataset).values_list("pk", "description"))
    confusions = ClassConfusion.objects.filter(first__in=labels, second__in=labels).order_by("pk")
    examples = ClassExample.objects.filter(label_class__in=labels).order_by("pk")
    return {
        "classes": [_row(labels[pk]) | {"description": texts.get(pk, "")} for pk in sorted(labels)],
        "confusions": list(confusions.values("first", "second", "difference")),
        "examples": [
            {"label": label_id, "path": path} for label_id, path in examples.values_list("label_class", "item__path")
        ],
        "dataset": {name: getattr(dataset, name) for name in _TEXTS},
    }


def _row(label: LabelClass) -> dict[str, Any]:
    columns = ("name", "colour", "key", "letter", "order", "is_retired")
    return {"id": label.pk, "merged_into": label.merged_into_id} | {name: getattr(label, name) for name in columns}


def parse_class_list(content: bytes) -> ClassList:
    """Parse the file. Raises Refusal if it is not one."""
    try:
        found = msgspec.json.decode(content, type=ClassList)
    except msgspec.DecodeError as error:
        raise Refusal(f"history/classes.json is damaged: {error}.", "Export the dataset again.") from error
    if NUL in content:
        raise Refusal("history/classes.json has a text with a null character.", "Export the dataset again.")
    names = [label.name.lower() for label in found.classes if not label.is_retired]
    if len(set(names)) < len(names) or len({label.id for label in found.classes}) < len(found.classes):
        raise Refusal("history/classes.json has a class twice.", "Export the dataset again.")
    return found


def refuse_classes(dataset: Dataset) -> None:
    """Raise Refusal if the dataset has classes."""
    if LabelClass.objects.filter(dataset=dataset).exists():
        raise Refusal(
            "The dataset has classes already, and the record has its own.",
            "Import the record into a dataset without classes and decisions.",
        )


def restore_classes(dataset: Dataset, found: ClassList) -> Mapping[int, int]:
    """Create the classes of a dataset that has none. Return the new IDs by those of the file. Called in a transaction.

    Raises Refusal if the dataset has classes or one is invalid.
    """
    refuse_classes(dataset)
    ids = free_ids(LabelClass, [label.id for label in found.classes])
    labels = {
        label.id: LabelClass(
            pk=ids.get(label.id), dataset=dataset, name=label.name, colour=label.colour, key=label.key,
            letter=label.letter, order=label.order, is_retired=label.is_retired,
        )
        for label in found.classes
    }  # fmt: skip
    for label in labels.values():
        try:
            label.full_clean(exclude=["dataset"], validate_unique=False)
        except ValidationError as error:
            raise Refusal(f"The class {label.name[:80]!r} is invalid: {'; '.join(error.messages)}") from error
        label.save(force_insert=True)
    reset_sequence(LabelClass)
    for each in found.classes:
        if each.merged_into in labels:
            LabelClass.objects.filter(pk=labels[each.id].pk).update(merged_into=labels[each.merged_into])
    _restore_guides(found, labels)
    empty = {name: found.dataset.get(name, "") for name in _TEXTS if not getattr(dataset, name)}
    for name, text in empty.items():
        setattr(dataset, name, text)
    try:
        dataset.clean_fields(exclude={field.name for field in Dataset._meta.fields} - set(_TEXTS))
    except ValidationError as error:
        raise Refusal(f"A text of the dataset is invalid: {'; '.join(error.messages)}") from error
    dataset.save(update_fields=list(_TEXTS))
    return {old: label.pk for old, label in labels.items()}


def _restore_guides(found: ClassList, labels: Mapping[int, LabelClass]) -> None:
    ClassGuide.objects.bulk_create(
        ClassGuide(label_class=labels[each.id], description=each.description)
        for each in found.classes
        if each.description
    )
    for pair in found.confusions:
        if pair.first in labels and pair.second in labels and pair.first != pair.second:
            first, second = sorted((labels[pair.first], labels[pair.second]), key=lambda label: label.pk)
            ClassConfusion.objects.create(first=first, second=second, difference=pair.difference)


def restore_examples(dataset: Dataset, found: ClassList, ids: Mapping[int, int]) -> None:
    """Restore the examples of the classes, after the labels that they need."""
    for example in found.examples:
        item = Item.objects.of(dataset).filter(path=example.path).first()
        if item is not None and example.label in ids:
            ClassExample.objects.get_or_create(item=item, defaults={"label_class_id": ids[example.label]})
