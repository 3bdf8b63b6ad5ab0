"""Describe items for programs: state, class, prediction, and on request fields, files and tags."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
from django.urls import reverse
from pydantic import BaseModel, Field

from hoshina.api.common import Guess, StateName, state_name
from hoshina.core.storage import StoreError
from labeling.fields import column_of
from labeling.fields.item_values import texts_of
from labeling.models import Dataset, Frame, Item, LabelClass
from labeling.models import Field as MetadataField
from labeling.notes.tags import tags_of
from modeling.predictions import Suggestion, active_predictions

Include = Literal["prediction", "fields", "files", "tags"]


class FileOut(BaseModel):
    """Represent a file of an item."""

    role: str
    path: str
    sha256: str
    size: int
    width: int
    height: int
    format: str


class ItemOut(BaseModel):
    """Represent an item and its current decision."""

    id: int
    row: int = Field(description="The position of the item in arrays, such as embeddings; it never changes.")
    path: str
    state: StateName
    class_id: int | None
    class_name: str | None
    annotation: int = Field(description="The newest decision, 0 without one. Send it as `seen` with a decision.")
    is_available: bool = Field(description="False if the file is missing or can no longer be read.")
    is_content_changed: bool = Field(description="The file changed after the decision.")
    thumb_url: str
    file_url: str
    prediction: Guess | None = Field(None, description="Of the active model; with `include=prediction`.")
    fields: dict[str, str] | None = Field(None, description="Metadata as text, with `include=fields`.")
    files: list[FileOut] | None = Field(None, description="With `include=files`.")
    tags: list[str] | None = Field(None, description="With `include=tags`.")


def item_list(dataset: Dataset, items: Sequence[Item], include: Collection[Include] = ()) -> list[ItemOut]:
    """Describe the items of a page. Takes a fixed number of queries, and one array per field."""
    described = [ItemOut(**base) for base in bases(items)]
    rows = [item.row for item in items]
    if "prediction" in include and (predictions := active_predictions(dataset)):
        for shown, suggestion in zip(described, predictions.suggestions(rows), strict=True):
            shown.prediction = guess(suggestion)
    if "fields" in include:
        for shown, values in zip(described, _fields(dataset, rows), strict=True):
            shown.fields = values
    if "files" in include:
        files = files_of(items)
        for shown in described:
            shown.files = files.get(shown.id, [])
    if "tags" in include:
        tags = tags_of([item.pk for item in items]) if items else {}
        for shown in described:
            shown.tags = tags.get(shown.id, [])
    return described


def bases(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return what every description of an item has, by one query."""
    ids = {item.label_id for item in items if item.label_id is not None}
    names = dict(LabelClass.objects.filter(pk__in=ids).values_list("pk", "name")) if ids else {}
    # One reverse for all: it takes longer than the rest of an item.
    thumb, file = (reverse(f"labeling:{name}", args=[0]).removesuffix("0") for name in ("thumb", "file"))
    return [
        {
            "id": item.pk,
            "row": item.row,
            "path": item.path,
            "state": state_name(item.state),
            "class_id": item.label_id,
            "class_name": names.get(item.label_id or 0),
            "annotation": item.newest_annotation_id,
            "is_available": item.is_available,
            "is_content_changed": item.is_content_changed,
            "thumb_url": f"{thumb}{item.pk}",
            "file_url": f"{file}{item.pk}",
        }
        for item in items
    ]


def guess(suggestion: Suggestion | None) -> Guess | None:
    if suggestion is None:
        return None
    label = suggestion.label
    return Guess(class_id=label.pk, class_name=label.name, probability=round(suggestion.probability, 6))


def files_of(items: Sequence[Item]) -> dict[int, list[FileOut]]:
    """Return the files of items by the item's id."""
    found: dict[int, list[FileOut]] = {}
    for frame in Frame.objects.filter(item__in=[item.pk for item in items]).order_by("pk"):
        names = FileOut.model_fields
        found.setdefault(frame.item_id, []).append(FileOut(**{name: getattr(frame, name) for name in names}))
    return found


def _fields(dataset: Dataset, rows: list[int]) -> list[dict[str, str]]:
    """Return the known values of all fields for each row. Raises StoreError if a column is damaged."""
    wanted = np.array(rows, np.int64)
    values: list[dict[str, str]] = [{} for _ in rows]
    for field in MetadataField.objects.filter(dataset=dataset):
        try:
            texts = texts_of(column_of(field), wanted)
        except StoreError as damaged:
            raise StoreError(f"The field {field.name} cannot be read. {damaged.message}", damaged.hint) from damaged
        for of_item, text in zip(values, texts, strict=True):
            if text:
                of_item[field.name] = text
    return values
